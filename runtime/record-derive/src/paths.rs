//! Where the generated code finds `wiesel_record`.
//!
//! A crate that has `wiesel-record` in its manifest means that; any other has `wiesel`, which
//! re-exports it. A renamed crate says so: `#[record(crate = path)]`.

use std::{env, fs, path::Path};

use syn::parse_quote;

/// The path for the crate being compiled.
#[expect(clippy::disallowed_methods, reason = "runs in the compiler, not in a job: no seam here")]
pub fn record_crate() -> syn::Path {
    // Cargo sets it for every compiler that it starts.
    let manifest = env::var_os("CARGO_MANIFEST_DIR")
        .and_then(|dir| fs::read_to_string(Path::new(&dir).join("Cargo.toml")).ok());
    match manifest {
        Some(manifest) if !manifest.lines().any(names_record) => {
            parse_quote!(::wiesel::__private::record)
        }
        _ => parse_quote!(::wiesel_record),
    }
}

/// Whether a line of a manifest names the package: as a dependency, as a table of one, or as itself.
fn names_record(line: &str) -> bool {
    let line = line.trim();
    let key = line.trim_start_matches('"').strip_prefix("wiesel-record");
    key.is_some_and(|rest| rest.trim_start_matches('"').trim_start().starts_with(['=', '.']))
        || (line.starts_with('[') && line.ends_with("dependencies.wiesel-record]"))
        || line.replace(' ', "") == "name=\"wiesel-record\""
}

#[cfg(test)]
mod tests {
    use super::names_record;

    #[test]
    fn a_manifest_names_the_package() {
        for (line, expected) in [
            ("wiesel-record.workspace = true", true),
            ("wiesel-record = \"0.1\"", true),
            ("\"wiesel-record\" = { path = \"x\" }", true),
            ("[dependencies.wiesel-record]", true),
            ("[target.'cfg(unix)'.dependencies.wiesel-record]", true),
            ("name = \"wiesel-record\"", true),
            ("wiesel-record-derive.workspace = true", false),
            ("wiesel = \"0.1\"", false),
            ("# wiesel-record = \"0.1\"", false),
        ] {
            assert_eq!(names_record(line), expected, "{line}");
        }
    }
}
