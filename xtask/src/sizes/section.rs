use std::path::Path;

use crate::shell::{Failure, command, output};

/// Bytes of a program's sections, by what they are for.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Sections {
    pub(super) text: f64,
    /// Constants and statics, and what the loader needs to relocate them.
    pub(super) data: f64,
    /// What each thread has for itself.
    pub(super) thread_local: f64,
    pub(super) unwinding: f64,
}

impl Sections {
    /// Asks `size` of the binutils, which are there where a linker is.
    pub(super) fn of(program: &Path) -> Result<Self, Failure> {
        Ok(Self::parse(&output(command("size", ["-A"]).arg(program))?))
    }

    fn parse(listing: &str) -> Self {
        let mut sections = Sections::default();
        for line in listing.lines() {
            let mut words = line.split_whitespace();
            let (Some(name), Some(Ok(size))) = (words.next(), words.next().map(str::parse::<f64>)) else {
                continue;
            };
            match name {
                ".text" | ".plt" | ".plt.got" | ".init" | ".fini" => sections.text += size,
                ".eh_frame" | ".eh_frame_hdr" | ".gcc_except_table" => sections.unwinding += size,
                ".tdata" | ".tbss" => sections.thread_local += size,
                ".rodata" | ".data" | ".bss" | ".data.rel.ro" | ".rela.dyn" | ".relr.dyn" | ".got"
                | ".got.plt" => {
                    sections.data += size;
                }
                _ => {}
            }
        }
        sections
    }

    pub(super) fn minus(&self, other: &Self) -> Self {
        self.with(other, |a, b| a - b)
    }

    pub(super) fn divided_by(&self, n: f64) -> Self {
        self.with(self, |a, _| a / n)
    }

    fn with(&self, other: &Self, of: impl Fn(f64, f64) -> f64) -> Self {
        Sections {
            text: of(self.text, other.text),
            data: of(self.data, other.data),
            thread_local: of(self.thread_local, other.thread_local),
            unwinding: of(self.unwinding, other.unwinding),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Sections;

    const LISTING: &str = "\
target/release/bare_100  :
section               size     addr
.interp                 28      848
.rela.dyn            22104     2496
.text               236513    65792
.eh_frame            24492   310656
.gcc_except_table     6276   335148
.tdata                  40   350552
.tbss                   72   350592
.data.rel.ro         11552   350592
.bss                   200   365448
Total               301277
";

    #[test]
    fn sections_are_sorted_by_use() {
        let sections = Sections::parse(LISTING);
        let expected = Sections { text: 236513.0, data: 33856.0, thread_local: 112.0, unwinding: 30768.0 };
        assert_eq!(sections, expected);
        assert_eq!(sections.minus(&sections), Sections::default());
    }
}
