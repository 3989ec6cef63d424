"""What a directory says of where its autoencoder belongs, in the same words for every format."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

# TransformerLens's names: hook_embed, blocks.3.hook_resid_post, blocks.3.attn.hook_z, ln_final.hook_normalized.
_SITE = re.compile(r"(blocks\.\d+\.)?([a-z0-9_]+\.)?hook_[a-z0-9_]+")


class Origin(NamedTuple):
    """Where an autoencoder reads, where a transcoder's target is (or None), and all that its directory says besides."""

    hook_name: str | None
    target_hook_name: str | None
    metadata: dict[str, Any]


def site_or_none(name: Any) -> str | None:
    """The name, where it is one of a TransformerLens site."""
    return name if isinstance(name, str) and _SITE.fullmatch(name) else None
