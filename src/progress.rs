//! What people see while a run goes on: bars on a terminal, plain lines elsewhere, or nothing. Owns how
//! progress is drawn; must not know what is being done.

use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{
    HumanBytes, HumanCount, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState,
    ProgressStyle,
};

/// How long plain lines keep silent between two reports.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Display {
    /// Bars that move; for a terminal.
    Bars,
    /// A line now and then; for a pipe or a log.
    Lines,
    /// Nothing.
    Silent,
}

/// Progress of one run; told from many threads.
#[derive(Debug)]
pub struct Progress {
    display: Display,
    packages: ProgressBar,
    bytes: ProgressBar,
    all: MultiProgress,
    read: AtomicU64,
    done: AtomicU64,
    total: AtomicU64,
    last_line: Mutex<Instant>,
}

impl Progress {
    /// Progress that is shown on stderr.
    pub fn new(display: Display) -> Progress {
        let all = MultiProgress::with_draw_target(match display {
            Display::Bars => ProgressDrawTarget::stderr(),
            _ => ProgressDrawTarget::hidden(),
        });
        Progress {
            display,
            packages: ProgressBar::hidden(),
            bytes: ProgressBar::hidden(),
            all,
            read: AtomicU64::new(0),
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            last_line: Mutex::new(Instant::now()),
        }
    }

    /// Begins the part in which packages are read: how many, and how many bytes they have.
    pub fn start(&self, packages: u64, bytes: u64) {
        self.total.store(packages, Ordering::Relaxed);
        match self.display {
            Display::Bars => {
                self.all.add(self.packages.clone());
                self.all.add(self.bytes.clone());
                self.packages.set_length(packages);
                self.packages.set_style(style(
                    "packages {wide_bar} {human_pos}/{human_len} {rate}, {eta} left",
                ));
                self.bytes.set_length(bytes);
                self.bytes.set_style(style(
                    "bytes    {wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec}",
                ));
            }
            // Where the bytes aren't known, as for a few files to verify, a line would only be noise.
            Display::Lines if bytes > 0 => {
                self.line(&format!(
                    "reading {} package{} ({})",
                    HumanCount(packages),
                    if packages == 1 { "" } else { "s" },
                    HumanBytes(bytes)
                ));
            }
            _ => {}
        }
    }

    /// Bytes were read.
    pub fn bytes(&self, count: u64) {
        self.read.fetch_add(count, Ordering::Relaxed);
        self.bytes.inc(count);
    }

    /// A package is done with.
    pub fn package(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        self.packages.inc(1);
        if self.display == Display::Lines && self.line_is_due() {
            let (total, read) = (
                self.total.load(Ordering::Relaxed),
                self.read.load(Ordering::Relaxed),
            );
            self.line(&format!(
                "{} of {} packages ({})",
                HumanCount(done),
                HumanCount(total),
                HumanBytes(read)
            ));
        }
    }

    /// The next phase begins.
    pub fn phase(&self, what: &str) {
        if self.display == Display::Bars {
            self.packages.set_style(style("{spinner} {msg}"));
            self.packages.set_message(what.to_owned());
            self.bytes.finish_and_clear();
            self.packages.tick();
        }
    }

    /// Whether nothing is said.
    pub fn is_silent(&self) -> bool {
        matches!(self.display, Display::Silent)
    }

    /// Something that people should know at once, and that changes nothing.
    pub fn aside(&self, what: &str) {
        match self.display {
            Display::Bars | Display::Lines => self.suspend(|| self.line(what)),
            Display::Silent => {}
        }
    }

    /// Takes the bars away, for whatever is printed next.
    pub fn finish(&self) {
        self.packages.finish_and_clear();
        self.bytes.finish_and_clear();
    }

    /// Lets something else, such as a prompt, have the terminal.
    pub fn suspend<T>(&self, what: impl FnOnce() -> T) -> T {
        self.all.suspend(what)
    }

    fn line_is_due(&self) -> bool {
        let Ok(mut last) = self.last_line.try_lock() else {
            return false;
        };
        let due = last.elapsed() >= LINE_EVERY;
        if due {
            *last = Instant::now();
        }
        due
    }

    /// A closed stderr is no reason to fail.
    fn line(&self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}

fn style(template: &str) -> ProgressStyle {
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.with_key(
        "rate",
        |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            // What can't be drawn is left out.
            let _ = write!(out, "{:.0}/s", state.per_sec());
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_display_takes_every_call() {
        for display in [Display::Bars, Display::Lines, Display::Silent] {
            let progress = Progress::new(display);
            progress.start(2, 10);
            progress.bytes(10);
            progress.package();
            progress.aside("waiting");
            progress.phase("writing");
            assert_eq!(progress.suspend(|| 5), 5);
            progress.finish();
        }
    }
}
