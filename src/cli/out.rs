//! Data on stdout. A reader that has had enough (`| head`) ends the program, and is no failure.

use crate::error::Error;
use std::fmt;
use std::io::{self, Write};

/// Prints a line.
macro_rules! say {
    () => { $crate::cli::out::line(format_args!("")) };
    ($($arg:tt)*) => { $crate::cli::out::line(format_args!($($arg)*)) };
}
pub(super) use say;

/// Prints a line, as [`say!`] does.
pub(super) fn line(text: fmt::Arguments<'_>) {
    if let Err(e) = writeln!(io::stdout().lock(), "{text}") {
        end(&failed(e));
    }
}

/// What a failed write to stdout is; where nobody reads any more, the program ends here with success.
pub(super) fn failed(e: io::Error) -> Error {
    if e.kind() == io::ErrorKind::BrokenPipe {
        std::process::exit(0);
    }
    Error::io("write", "stdout", e)
}

fn end(e: &Error) -> ! {
    eprintln!("error: {e}\n\nhint: {}", e.hint());
    std::process::exit(2)
}
