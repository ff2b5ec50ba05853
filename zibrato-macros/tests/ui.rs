//! What the attributes accept, and the errors for what they do not: one file for a kind of mistake.
//!
//! `TRYBUILD=overwrite cargo test -p zibrato-macros --test ui` writes the expected errors anew.

#[test]
fn forms_and_mistakes() {
    let tests = trybuild::TestCases::new();
    tests.pass("tests/ui/pass/*.rs");
    tests.compile_fail("tests/ui/fail/*.rs");
}
