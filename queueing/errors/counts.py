"""Counts with their nouns and verbs, for messages: 1 job is, 2 jobs are."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """The number, with commas, and the noun in its number; ``plural`` where it is not the noun with an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def agreed(number: int, one: str, more: str) -> str:
    """The word that agrees with the number: ``one`` for 1, else ``more``."""
    return one if number == 1 else more
