//! Counts the tokens of texts, as `assets/texts/README.md` lists them.
//!
//!     count_tokens MODEL TEXT ..

use std::path::Path;
use whittle::job::Job;
use whittle::model::{Model, Specials};

#[expect(clippy::print_stdout, reason = "a program that prints its result")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((model, texts)) = arguments.split_first() else {
        return Err("usage: count_tokens MODEL TEXT ..".into());
    };
    let model = Model::load(Path::new(model), &Job::silent())?;
    for path in texts {
        let text = std::fs::read_to_string(path)?;
        let tokens = model.tokenizer.encode(&text, Specials::Plain)?.len();
        println!("{path}: {tokens} tokens");
    }
    Ok(())
}
