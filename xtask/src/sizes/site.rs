/// A kind of call site, and how to write a function that has one.
pub(super) struct Site {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// The kind without a call site that it is compared to.
    pub(super) bare: &'static str,
    /// What stands before the function and at the beginning of its body; `{i}` is its number.
    pub(super) attribute: &'static str,
    pub(super) begin: &'static str,
    /// Whether the rest of the body may panic.
    pub(super) may_unwind: bool,
    /// Whether its compilation is timed, too.
    pub(super) timed: bool,
    pub(super) text_at_most: Option<f64>,
}

/// The kind whose compile time is the mark.
pub(super) const PEER: &str = "metrics_counter";

const BARE: Site = Site {
    name: "bare",
    title: "",
    bare: "bare",
    attribute: "",
    begin: "",
    may_unwind: false,
    timed: false,
    text_at_most: None,
};

pub(super) const SITES: &[Site] = &[
    Site { timed: true, ..BARE },
    Site { name: "bare_unwinding", bare: "bare_unwinding", may_unwind: true, ..BARE },
    Site {
        name: "count_me",
        title: "`#[count_me]`",
        attribute: "#[zibrato::count_me]",
        timed: true,
        text_at_most: Some(100.0),
        ..BARE
    },
    Site {
        name: "count",
        title: "`count!`",
        begin: "zibrato::count!(\"f{i}\");",
        timed: true,
        text_at_most: Some(100.0),
        ..BARE
    },
    Site {
        name: "count_value",
        title: "`count!` of a run-time value",
        begin: "zibrato::count!(\"f{i}\", x);",
        ..BARE
    },
    Site { name: "gauge", title: "`gauge!`", begin: "zibrato::gauge!(\"f{i}\", x);", ..BARE },
    Site { name: "record", title: "`record!`", begin: "zibrato::record!(\"f{i}\", x);", ..BARE },
    Site {
        name: "time_me",
        title: "`#[time_me]`",
        attribute: "#[zibrato::time_me]",
        timed: true,
        text_at_most: Some(140.0),
        ..BARE
    },
    Site {
        name: "time_me_unwinding",
        title: "`#[time_me]`, the body may panic",
        bare: "bare_unwinding",
        attribute: "#[zibrato::time_me]",
        may_unwind: true,
        text_at_most: Some(140.0),
        ..BARE
    },
    Site {
        name: "time",
        title: "`time!`",
        begin: "let _timing = zibrato::time!(\"f{i}\");",
        timed: true,
        ..BARE
    },
    Site {
        name: PEER,
        title: "`metrics::counter!`",
        begin: "metrics::counter!(\"f{i}\").increment(1);",
        timed: true,
        ..BARE
    },
    Site {
        name: "metrics_histogram",
        title: "`Instant`, `metrics::histogram!`",
        begin: "let _timing = Timing::start(|took| metrics::histogram!(\"f{i}\").record(took));",
        ..BARE
    },
    Site {
        name: "tracing",
        title: "`#[tracing::instrument]`",
        attribute: "#[tracing::instrument(skip_all)]",
        timed: true,
        ..BARE
    },
];

impl Site {
    pub(super) fn is_bare(&self) -> bool {
        self.name == self.bare
    }

    /// Whether it is Zibrato's.
    pub(super) fn is_ours(&self) -> bool {
        self.attribute.contains("zibrato::") || self.begin.contains("zibrato::")
    }

    /// A program with so many functions of this kind.
    pub(super) fn program(&self, sites: usize) -> String {
        let mut program = String::from(PRELUDE);
        for i in 0..sites {
            let numbered = |text: &str| text.replace("{i}", &i.to_string());
            let factor = 2 * i + 3;
            let rest = if self.may_unwind { "work(x, {})" } else { "x.wrapping_mul({})" };
            program.push_str(&format!(
                "{}\n#[inline(never)]\nfn f{i}(x: u64) -> u64 {{ {} {} }}\n",
                numbered(self.attribute),
                numbered(self.begin),
                rest.replace("{}", &factor.to_string()),
            ));
        }
        let calls: String = (0..sites).map(|i| format!("    x = f{i}(x);\n")).collect();
        program.push_str(&format!("fn main() {{\n    let mut x = std::hint::black_box(1);\n{calls}"));
        program.push_str("    std::hint::black_box(x);\n}\n");
        program
    }
}

const PRELUDE: &str = "\
#![allow(dead_code)]
#[inline(never)]
fn work(x: u64, by: u64) -> u64 {
    std::hint::black_box(x).checked_mul(by).unwrap_or_else(|| panic!(\"{x} times {by}\"))
}
struct Timing<F: Fn(f64)> { start: std::time::Instant, record: F }
impl<F: Fn(f64)> Timing<F> {
    fn start(record: F) -> Self { Timing { start: std::time::Instant::now(), record } }
}
impl<F: Fn(f64)> Drop for Timing<F> {
    fn drop(&mut self) { (self.record)(self.start.elapsed().as_secs_f64()) }
}
";
