//! Habits of command lines.

mod support;

use std::process::Stdio;

use support::{run, zibrato};

#[test]
fn every_subcommand_explains_itself() {
    let (code, out, _) = run(&mut zibrato(&["--help"]));
    assert!(code == 0 && out.contains("Examples:") && out.contains("Exit status:"), "{out}");
    for command in [
        "broker", "librato", "tail", "send", "time", "info", "audit", "state", "demo", "workers", "config",
        "keys",
    ] {
        assert!(out.contains(&format!("\n  {command} ")), "{command} in {out}");
        let (code, help, _) = run(&mut zibrato(&[command, "--help"]));
        assert!(code == 0 && help.contains(&format!("zibrato {command}")), "{help}");
        assert!(help.contains("Examples:") && !help.contains('\x1b'), "{help}");
    }
}

#[test]
fn the_version_is_told() {
    let (code, out, _) = run(&mut zibrato(&["--version"]));
    assert_eq!((code, out), (0, format!("zibrato {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn bad_usage_has_status_2() {
    for arguments in [&[][..], &["tial"], &["tail", "--nmae", "x"], &["tail", "--interval", "0"]] {
        let (code, out, err) = run(&mut zibrato(arguments));
        assert!(code == 2 && out.is_empty() && !err.is_empty(), "{arguments:?}: {out}{err}");
    }
}

#[test]
fn a_closed_output_is_no_failure() {
    let mut demo = zibrato(&["demo", "--seconds", "1"]);
    let mut demo = demo.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(demo.stdout.take());
    let output = demo.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), vec![]));
}
