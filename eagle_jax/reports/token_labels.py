"""How a token is written where people read it."""

import re

# Pieces of a word boundary that tokenizers leave in single-token texts.
SPACES = " \u2581\u0120"
_END = re.compile(r"<\|?(im_end|eot_id|endoftext|end_of_text|end_of_turn|eos)\|?>|</s>")
_SPECIAL = re.compile(r"<\|(.+)\|>|<(s|pad|bos|unk)>")
_LONGEST = 300


def token_label(token: str) -> tuple[str, bool]:
    """The text of a token without the blanks around it, and whether it stands for no text.

    Args:
      token: decoded alone.

    Returns:
      What to write, with signs for line breaks, tabs and blanks, and special tokens in
      brackets; True for these and for blanks, which are written small.
    """
    bare = token.strip(SPACES)
    if _END.fullmatch(bare):
        return "[end]", True
    if special := _SPECIAL.fullmatch(bare):
        return f"[{special[1] or special[2]}]", True
    if not bare:
        return "\u2423" * max(1, len(token)), True
    return bare[:_LONGEST].replace("\n", "\u21b5").replace("\t", "\u21e5"), False
