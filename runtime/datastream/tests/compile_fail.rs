//! What the compiler says when a program goes on before a builder is finished.
//!
//! The whole text of an error is compared, so this runs with the compiler that wrote it; others
//! phrase around it. `TRYBUILD=overwrite cargo test -p wiesel-datastream --test compile_fail` writes
//! it anew. Each call that is one too early is one error, and what follows from it is none.

use std::process::Command;

/// The compiler whose words are in `compile_fail/*.stderr`.
const COMPILER: &str = "rustc 1.95.";

#[test]
fn errors_say_what_is_missing() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().expect("rustc runs");
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    assert!(version.starts_with("rustc "), "{version}");
    if version.starts_with(COMPILER) {
        trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
    }
}
