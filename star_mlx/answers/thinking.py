"""What a completion says after the thinking of a model that reasons before it answers.

The marks are those that mlx-lm knows. A template may write the first one itself, at the end of the
prompt; the completion then begins inside the thinking.
"""

from __future__ import annotations

MARKS = (
    ("<think>", "</think>"),  # Qwen3, Qwen3.5, SmolLM3, DeepSeek-R1 and many others
    ("<|channel>thought", "<channel|>"),  # gemma 4
    ("<longcat_think>", "</longcat_think>"),
    ("<|think:start|>", "<|think:end|>"),
    ("<|open|>think<|sep|>", "<|close|>think<|sep|>"),
    ("[THINK]", "[/THINK]"),  # Magistral
)


def said(completion: str, prompt: str = "") -> str | None:
    """The part of a completion after its thinking: all of it if it does not think.

    None if it says nothing after its thinking, or ends inside it.

    >>> said("<think>Is it 9? No.</think>The answer is 18.")
    'The answer is 18.'
    """
    if thinks(completion, prompt):
        return None
    for _, end in MARKS:
        _, closed, rest = completion.rpartition(end)
        if closed:
            return rest if rest.strip() else None
    return completion


def thinks(completion: str, prompt: str = "") -> bool:
    """Whether a completion ends inside its thinking, which ``prompt`` may have begun."""
    return end_of(completion, prompt) is not None


def end_of(completion: str, prompt: str = "") -> str | None:
    """The mark that would end the thinking in which a completion ends; None if it is in none."""
    prompt = prompt.rstrip()
    for begin, end in MARKS:
        text = begin * prompt.endswith(begin) + completion
        if text.rfind(begin) > text.rfind(end):
            return end
    return None
