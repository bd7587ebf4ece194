//! Names on the command line: of workloads, peers, engines, options.
//!
//! Whoever mistypes one is told the nearest, by the rule that jobs have for their own flags.

use wiesel::UsageError;

/// The one of `all` with this name. `kind` is what they are, with its article.
///
/// # Errors
///
/// If none has it: says which is nearest, or which there are.
pub fn find<T: Copy>(
    kind: &str,
    name: &str,
    all: &[T],
    name_of: impl Fn(T) -> &'static str,
) -> Result<T, String> {
    if let Some(found) = all.iter().find(|one| name_of(**one) == name) {
        return Ok(*found);
    }
    let names: Vec<&str> = all.iter().map(|one| name_of(*one)).collect();
    let hint = match UsageError::nearest(name, names.iter().copied()) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("there are {}", names.join(", ")),
    };
    Err(format!("`{name}` is not {kind}: {hint}"))
}
