//! What the node logs as a warning or an error, until somebody takes it.
//!
//! Nothing less is kept: at lower levels the node writes preimages.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use ldk_node::logger::{LogLevel, LogRecord, LogWriter};

const MOST_LINES: usize = 500;

/// One line. `module` is the place in the node's sources.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub is_error: bool,
    pub module: String,
    pub text: String,
}

/// The newest lines; the oldest are dropped when nobody takes them.
#[derive(Default)]
pub struct Logs(Mutex<VecDeque<Line>>);

impl Logs {
    /// All lines since the last call.
    pub fn take(&self) -> Vec<Line> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.drain(..).collect()
    }

    fn put(&self, line: Line) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == MOST_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

impl LogWriter for Logs {
    fn log(&self, record: LogRecord<'_>) {
        if record.level >= LogLevel::Warn {
            self.put(Line {
                is_error: record.level == LogLevel::Error,
                module: record.module_path.to_owned(),
                text: record.args.to_string(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(logs: &Logs, level: LogLevel, text: &str) {
        logs.log(LogRecord {
            level,
            args: format_args!("{text}"),
            module_path: "here",
            line: 1,
        });
    }

    #[test]
    fn what_may_hold_a_preimage_is_dropped() {
        let logs = Logs::default();
        for level in [
            LogLevel::Gossip,
            LogLevel::Trace,
            LogLevel::Debug,
            LogLevel::Info,
        ] {
            log(&logs, level, "secret");
        }
        log(&logs, LogLevel::Error, "broken");
        let line = Line {
            is_error: true,
            module: "here".into(),
            text: "broken".into(),
        };
        assert_eq!(logs.take(), [line]);
        assert_eq!(logs.take(), []);
    }

    #[test]
    fn the_newest_lines_are_kept() {
        let logs = Logs::default();
        for number in 0..=MOST_LINES {
            log(&logs, LogLevel::Warn, &number.to_string());
        }
        let lines = logs.take();
        assert_eq!(lines.len(), MOST_LINES);
        assert_eq!(lines[0].text, "1");
    }
}
