//! The rule for how long a function may be.

use crate::lexer::is_word;
use crate::rules::{Finding, Source};

/// Longest function in lines, from its name to its last brace.
const LONGEST: usize = 80;

/// What the comment of a longer function begins with.
const REASON: &str = "Long: ";

/// A function has at most [`LONGEST`] lines, or a comment that says why it has more.
pub(crate) fn long_functions(source: &Source<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for index in 0..source.words.len() {
        let name = source.word(index + 1);
        if source.word(index) != "fn" || !name.starts_with(is_word) {
            continue;
        }
        let Some(end) = end_of_body(source, index) else {
            continue;
        };
        let (first, last) = (source.words[index].line, source.words[end].line);
        let lines = last - first + 1;
        if lines > LONGEST && !has_reason(source, first, last) {
            let message = format!(
                "`{name}` has {lines} lines, at most {LONGEST}: split it, or say why not in a comment that begins with \"{REASON}\""
            );
            findings.push(source.finding(first, message));
        }
    }
    findings
}

/// The word that ends the body of the function at `index`; none for a declaration.
fn end_of_body(source: &Source<'_>, index: usize) -> Option<usize> {
    let (mut inside, mut braces) = (0, 0);
    for at in index..source.words.len() {
        match source.word(at) {
            "(" | "[" => inside += 1,
            ")" | "]" => inside -= 1,
            ";" if inside == 0 && braces == 0 => return None,
            "{" => braces += 1,
            "}" => {
                braces -= 1;
                if braces == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// Whether a comment in lines `first` to `last`, or directly above them, gives a reason.
fn has_reason(source: &Source<'_>, first: usize, last: usize) -> bool {
    let lines: Vec<&str> = source.text.lines().collect();
    let above = lines[..first - 1].iter().rev().take_while(|line| {
        let line = line.trim_start();
        line.starts_with("//") || line.starts_with("#[")
    });
    let top = first - 1 - above.count();
    let comments = source.split.comments.lines().skip(top).take(last - top);
    comments
        .filter_map(|line| line.split_once(REASON))
        .any(|(_, reason)| !reason.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_function_without_a_reason_is_found() {
        let check = |text: &str, lines: &[usize]| {
            let source = Source::new("src/job.rs", text);
            let found: Vec<usize> = long_functions(&source).iter().map(Finding::line).collect();
            assert_eq!(found, lines, "{text}");
        };
        let body = |lines: usize| "    x;\n".repeat(lines);
        let long = |above: &str, inside: &str| {
            format!(
                "{above}fn f(x: [u8; 3]) -> u8 {{\n{inside}{}}}\n",
                body(LONGEST - 1)
            )
        };
        check(&long("", ""), &[1]);
        check(&format!("fn f() {{\n{}}}\n", body(LONGEST - 2)), &[]);
        check(
            &long("/// Doc.\n// Long: a row a board.\n#[inline]\n", ""),
            &[],
        );
        check(&long("", "    // Long: a row a board.\n"), &[]);
        check(&long("// Long: \n", ""), &[2]);
        check(&long("// Long: another's reason.\nfn g() {}\n\n", ""), &[4]);
        check(&long("", "    let s = \"// Long: no comment\";\n"), &[1]);
        check(&format!("fn f();\n{}", body(LONGEST)), &[]);
        check(
            &format!("type F = fn(u8);\nimpl X {{\n{}}}", body(LONGEST)),
            &[],
        );
    }
}
