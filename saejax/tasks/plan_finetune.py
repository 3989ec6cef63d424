"""`--plan` of `finetune`: a step of the sweep's ensembles with the end-to-end loss, on real windows."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from saejax.config import Config
from saejax.lm import weights
from saejax.planning import counts, measure, steps
from saejax.planning.forecast import Forecast
from saejax.tasks import finetune
from saejax.tasks.plan_extract import Extract, blocks
from saejax.tasks.plan_train import Train, export_seconds
from saejax.training.ensemble import Inputs

STEP_SECONDS = 3.0


def forecast_of(config: Config, e: Extract, t: Train) -> Forecast:
    """What `finetune` takes; its dispatches are compiled once."""
    n_windows, n_steps, L = finetune.batch_windows(config), finetune.n_steps(config), config.context_size
    special = e.tokenizer.token_to_id(weights.END_OF_TEXT) if config.exclude_special else None
    starts = [state.params for state in t.steps.states]
    ensembles = finetune.spliced(config, e.lm, e.params, special, dict.fromkeys(e.widths, 1.0), starts)
    tokens_1xBxL = jnp.resize(jnp.asarray(e.text.windows.tokens_NxL[:n_windows]), (1, n_windows, L))
    one = jnp.float32(1)

    def begin():
        states = [own.init(jnp.zeros(own.group.frame.width_out)) for own in ensembles]
        return step(states)

    def step(states):
        given = [Inputs(tokens_1xBxL, tokens_1xBxL if own.group.sites.target else None, one, one) for own in ensembles]
        return jax.block_until_ready([own.steps(s, g)[0] for own, s, g in zip(ensembles, states, given)])

    done = measure.once(begin)
    states = [done.result]

    def again() -> None:
        states[0] = step(states[0])

    step_seconds = measure.repeated(again, budget_seconds=STEP_SECONDS)
    state_bytes = counts.tree_bytes(states[0])
    seconds = {
        "compilation": max(0.0, done.seconds - step_seconds),
        "steps": n_steps * step_seconds,
        "checkpoints": counts.written_checkpoints(n_steps, config.checkpoint_every_steps) * state_bytes / t.write_rate,
        "export": export_seconds(e, t),
    }
    frames = [(own.group.frame, len(own.group.members)) for own in ensembles]
    disk = counts.kept_checkpoints(n_steps, config.checkpoint_every_steps) * state_bytes
    disk += sum(n * counts.export_bytes(f.d_in, f.width_out, f.d_sae) for f, n in frames)
    # The model runs to the site once, on from it for each member, and back through what it ran on for.
    whole = counts.lm_operations(e.lm, L, logits=True)
    to_site = counts.lm_operations(e.lm, L, blocks=blocks(tuple(e.widths), e.lm))
    of_model = n_windows * L * (whole + 3 * t.n_members * (whole - to_site))
    operations = n_steps * (of_model + steps.operations(ensembles, n_windows * L))
    return Forecast("finetune", seconds, disk, done.peak_bytes + state_bytes, operations)
