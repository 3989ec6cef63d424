"""The self-test passes on an evaluation that is right, and catches each way of breaking one."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from saejax.errors import InputError
from saejax.evaluation import calibration, metrics, splice
from saejax.evaluation.survey import survey
from saejax.lm import weights

SITES = ("blocks.1.hook_resid_post", "blocks.0.hook_mlp_out")


@pytest.fixture(scope="module")
def tokens():
    return np.random.default_rng(0).integers(0, 4096, (4, 64)).astype(np.int32)


def run(tokens, dtype=jnp.float32, sites=SITES):
    """Each site's checks, on the tiny model, with every seventh position left out."""
    config, params = weights.load(weights.find("tiny"))
    model = splice.LanguageModel(params, config, jnp.dtype(dtype))
    keep = (np.arange(tokens.size) % 7 > 0).reshape(tokens.shape)
    document = np.arange(tokens.size).reshape(tokens.shape) // 50
    found = survey(model, sites, tokens, keep, batch_windows=2, n_sample=10)
    members = calibration.members(sites, found.mean)
    held = metrics.DocumentSums(int(document.max()) + 1)
    for batch in splice.evaluate(model, members, tokens, keep, document, found.mean, batch_windows=2):
        held.add(batch.first_document, batch.sums)
    results = splice.summarise(held.totals(), members)["members"]
    return {site: calibration.checks(results, site, calibration.tolerance(dtype)) for site in sites}


def verify(found):
    for site, checks in found.items():
        calibration.verify(site, checks)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_passes_where_nothing_is_broken(tokens, dtype):
    found = run(tokens, dtype)
    verify(found)
    for checks in found.values():
        assert len(checks) == 5
        assert checks["mean/explained_variance"]["value"] == pytest.approx(0.0, abs=1e-5)
        assert checks["identity/ce_recovered"]["value"] == pytest.approx(1.0, abs=1e-3)


def shifted(predict):
    """The replacement comes a position late."""

    def broken(*args, **kwargs):
        sums, spliced = predict(*args, **kwargs)
        return sums, jnp.roll(spliced, 1, axis=1)

    return broken


def unmasked(predict):
    """Positions that are not the members' are replaced as well."""
    return lambda sae, x, y, keep, **kwargs: predict(sae, x, y, jnp.ones_like(keep), **kwargs)


def doubled_error(sums):
    def broken(*args, **kwargs):
        found, y_hat = sums(*args, **kwargs)
        return found | {"squared_error": 1.01 * found["squared_error"]}, y_hat

    return broken


def not_replaced(replaced):
    """The language model runs on with its own activation."""

    def broken(params, tokens, document, x, clean, *, config, dtype, site, n_documents):
        _, captured = splice.gpt2.run(params, tokens, config=config, capture=(site,), dtype=dtype)
        options = {"config": config, "dtype": dtype, "site": site, "n_documents": n_documents}
        return replaced(params, tokens, document, jnp.where(x == 0, 0, captured[site] * 1.05).astype(x.dtype), clean, **options)

    return broken


@pytest.mark.parametrize(
    "name, broken, check",
    [
        ("_predict", shifted, "identity/ce_recovered"),
        ("_predict", unmasked, "mean/explained_variance"),
        ("_replaced", not_replaced, "identity/ce_recovered"),
    ],
)
def test_a_broken_splice_is_caught_and_named(tokens, monkeypatch, name, broken, check):
    monkeypatch.setattr(splice, name, broken(getattr(splice, name)))
    with pytest.raises(InputError, match=f"self-test {check} at {SITES[0]}") as error:
        verify(run(tokens, sites=SITES[:1]))
    assert "\n" not in str(error.value)


def test_zeros_that_leave_the_left_out_positions_alone_are_told_from_zeros_everywhere(tokens, monkeypatch):
    predict = splice._predict

    def broken(sae, x, y, keep, **kwargs):
        sums, spliced = predict(sae, x, y, keep, **kwargs)
        return sums, (spliced if isinstance(sae, calibration.Identity) else jnp.zeros_like(spliced))

    monkeypatch.setattr(splice, "_predict", broken)
    with pytest.raises(InputError, match="self-test zero/ce_recovered"):
        verify(run(tokens, sites=SITES[:1]))


def test_a_wrong_error_is_caught(tokens, monkeypatch):
    monkeypatch.setattr(metrics, "reconstruction_sums", doubled_error(metrics.reconstruction_sums))
    splice._predict.clear_cache()
    with pytest.raises(InputError, match="self-test mean/explained_variance"):
        verify(run(tokens, sites=SITES[:1]))
    splice._predict.clear_cache()


def test_what_is_not_a_number_is_caught():
    with pytest.raises(InputError, match="self-test identity/kl"):
        calibration.verify("site", {"identity/kl": {"value": float("nan"), "expected": 0.0, "tolerance": 1.0}})
