"""docs/runbook.md as an engineer on call uses it: blocks of commands, typed into a shell, section by section."""

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from tests.rehearsal.plant import REPOSITORY, until

PAGE = REPOSITORY / "docs" / "runbook.md"
SETUP = "set-up-your-shell"
SHELL = ("sh",)
"""The plainest there is: what runs here runs in whatever shell somebody has at night."""


@dataclass(frozen=True)
class Section:
    """One procedure: its text, and the blocks in it as (language, text)."""

    text: str
    blocks: tuple[tuple[str, str], ...]

    @property
    def commands(self) -> tuple[str, ...]:
        """What is run here; blocks marked `az` need Azure."""
        return tuple(text for language, text in self.blocks if language == "sh")


def sections(page: Path = PAGE) -> dict[str, Section]:
    """Anchor → section, in the order of the page."""
    _, *parts = re.split(r"^## (.+)\n", page.read_text(), flags=re.MULTILINE)
    titles, texts = parts[::2], parts[1::2]
    return {
        anchor_of(title): Section(text, tuple(re.findall(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)))
        for title, text in zip(titles, texts, strict=True)
    }


def anchor_of(title: str) -> str:
    """As GitHub makes it of a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


class Terminal:
    """One shell, with what the page's first section puts into it; variables stay from block to block."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        python = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # the one that runs this
        self._shell = subprocess.Popen(
            SHELL,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PATH": python},
        )
        self.set(**variables)
        for commands in sections()[SETUP].commands:
            self.run(commands)

    def set(self, **variables: str) -> None:
        """What the engineer puts in from an alert, an event or an answer."""
        self.run("".join(f"{name}='{value}'\n" for name, value in variables.items()))

    def run(self, commands: str) -> str:
        """Type these, and read what comes."""
        end = f"end-{uuid.uuid4().hex}"
        stdin, stdout = self._shell.stdin, self._shell.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{commands}\necho; echo {end}\n")
        stdin.flush()
        shown = "".join(takewhile(lambda line: line.strip() != end, iter(stdout.readline, "")))
        assert self._shell.poll() is None, f"the shell ended: {shown}"
        return shown.strip("\n")

    def close(self) -> None:
        """End the shell."""
        self._shell.communicate("exit\n", timeout=10)


class Procedure:
    """One section, block by block, in its order."""

    def __init__(self, terminal: Terminal, anchor: str) -> None:
        self.shell = terminal
        self._left = list(sections()[anchor].commands)
        self._last = ""
        self.anchor = anchor

    def next(self, terminal: Terminal | None = None) -> str:
        """Run the next block, in another shell if the page says so; what it printed."""
        self._last = self._left.pop(0)
        return (terminal or self.shell).run(self._last)

    def again(self) -> str:
        """Run the same block once more, as the page says one should while one waits."""
        return self.shell.run(self._last)

    def until(self, *texts: str, explain: Callable[[], str] = str) -> str:
        """Run the next block, again and again, until it prints all of these."""
        shown = self.next()

        def says() -> bool:
            nonlocal shown
            if all(text in shown for text in texts):
                return True
            shown = self.again()
            return False

        until(says, f"{self.anchor} shows {texts}", lambda: f"{shown}\n{explain()}", every_s=0.5)
        return shown

    @property
    def left(self) -> int:
        """How many blocks were not run."""
        return len(self._left)
