"""`gatewayd log`: the tools that read a gateway's log, each in a file of its own."""

from cyclopts import App

from cli.help_pages import add_help
from cli.log.at import print_at, print_diff
from cli.log.export import export_log, import_log
from cli.log.recovery import print_recovery
from cli.log.restore import restore_backup
from cli.log.show import print_events
from cli.log.stuck import print_stuck
from cli.log.trace import print_trace
from cli.log.verify import print_verified

log_app = App(
    name="log",
    help="Read the log of a gateway, also of a running one.",
    help_formatter="plain",
    version_flags=(),
    result_action="return_value",
)
add_help(log_app, "log", program="cli.gatewayd.program")
log_app.command(print_verified, name="verify")
log_app.command(print_events, name="show")
log_app.command(print_trace, name="trace")
log_app.command(print_at, name="at")
log_app.command(print_diff, name="diff")
log_app.command(print_stuck, name="stuck")
log_app.command(print_recovery, name="simulate-recovery")
log_app.command(export_log, name="export")
log_app.command(import_log, name="import")
log_app.command(restore_backup, name="restore")
