"""`help`, `help COMMAND…` and `GROUP help COMMAND…`, as in the Rust programs: print the page of `--help`."""

from importlib import import_module

from cyclopts import App, CycloptsError


def add_help(group: App, *path: str, program: str) -> None:
    """Give `group`, reached by the words of `path`, the command `help`.

    `program` is the module whose `app_for` gives the whole app for given words; it loads its groups and is therefore
    named, not imported.
    """

    @group.command(name="help")
    def show_help(*command: str) -> None:
        """Show how a command is used.

        Parameters
        ----------
        command
            Which one; without it, all there are.
        """
        words = [*path, *command]
        whole: App = import_module(program).app_for(words)
        _, _, unknown = whole.parse_commands(words)
        if unknown:
            raise CycloptsError(msg=f"There is no command {' '.join(words)!r}; help lists all")
        whole([*words, "--help"], exit_on_error=False, print_error=False)
