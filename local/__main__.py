"""`python -m local`: what runs instead of Azure on a desk."""

import typer

from local.rehearse.command import rehearse
from local.up import up

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command()(up)
app.command()(rehearse)


@app.callback()
def commands() -> None:
    """One command for each thing to run."""


if __name__ == "__main__":
    app()
