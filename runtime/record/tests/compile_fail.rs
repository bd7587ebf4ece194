//! What is refused, and what the compiler says to write instead.
//!
//! The whole text of an error is compared, so this runs with the compiler that wrote it; others
//! phrase around it. `TRYBUILD=overwrite cargo test -p wiesel-record --test compile_fail` writes it
//! anew. That these programs are refused at all, any compiler checks: see the last lines of `lib.rs`.

use std::process::Command;

/// The compiler whose words are in `compile_fail/*.stderr`.
const COMPILER: &str = "rustc 1.95.";

#[test]
fn errors_say_what_to_write() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().expect("rustc runs");
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    assert!(version.starts_with("rustc "), "{version}");
    if version.starts_with(COMPILER) {
        trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
    }
}
