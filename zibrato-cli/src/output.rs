//! Writing to stdout: colour only where it is a terminal, and quietly done when nobody reads any more.

use std::io::Write;

use anstyle::{AnsiColor, Style};

use crate::failure::Failure;

/// Headings.
pub(crate) const HEADING: Style = Style::new().bold();
/// What matters less.
pub(crate) const DIM: Style = Style::new().dimmed();
/// What is as it should be.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// What is not.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();

/// The text in a style; [`Output`] takes the style away where nobody would see it.
pub(crate) fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Stdout.
pub(crate) struct Output {
    stdout: anstream::AutoStream<std::io::Stdout>,
}

impl Output {
    pub(crate) fn new() -> Output {
        Output { stdout: anstream::AutoStream::auto(std::io::stdout()) }
    }

    /// Writes text, at once.
    pub(crate) fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.stdout
            .write_all(text.as_bytes())
            .and_then(|()| self.stdout.flush())
            .map_err(|error| Failure::of_output(&error))
    }

    /// Writes a line, at once.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.write(&format!("{text}\n"))
    }
}

/// Columns and rows of the terminal, if stdout is one.
pub(crate) fn terminal_size() -> Option<(usize, usize)> {
    let (columns, rows) = terminal_size::terminal_size_of(std::io::stdout())?;
    Some((columns.0.into(), rows.0.into()))
}

/// Done when nobody reads stdout any more, which a program that has nothing to write would not notice.
#[cfg(unix)]
pub(crate) async fn closed() {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
    let stdout = std::io::stdout();
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        // The end of a pipe is told whether it is asked for or not.
        let mut ends = [PollFd::new(&stdout, PollFlags::empty())];
        if poll(&mut ends, Some(&AT_ONCE)).is_ok()
            && ends[0].revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL)
        {
            return;
        }
    }
}

/// Never done: the next write tells.
#[cfg(not(unix))]
pub(crate) async fn closed() {
    std::future::pending().await
}

/// A runtime for a command that only waits for sockets.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|why| Failure::To(format!("start the runtime: {why}")))
}
