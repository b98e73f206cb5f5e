//! A real model: SmolLM2-135M-Instruct in Q4_1.

use crate::models::installed;
use crate::required::required;
use engine::shape::Role;
use whittle::job::Job;
use whittle::model::{Generation, Message, Model, Specials};

/// Expected values: Hugging Face's `tokenizers` 0.23 and `gguf-py` 0.19 over the same file.
#[test]
fn smollm2_has_its_tokens_and_weights() {
    let Some(folder) = required(installed("smollm2-135m")) else {
        return;
    };
    let file = folder.join("SmolLM2-135M-Instruct.Q4_1.gguf");
    let model = Model::load(&file, &Job::silent()).expect("a whole model");
    let check = |text: &str, expected: &[u32]| {
        let tokens = model.tokenizer.encode(text, Specials::Plain).unwrap();
        assert_eq!(tokens, expected, "{text}");
        assert_eq!(model.tokenizer.decode(&tokens), text);
    };
    check("Hello, world!", &[19556, 28, 905, 17]);
    check(
        "The board has 320 kB of RAM; it's 2024.",
        &[
            504, 4411, 553, 216, 35, 34, 32, 501, 50, 282, 21907, 43, 357, 506, 216, 34, 32, 34,
            36, 30,
        ],
    );
    check(
        "naïve café ☃\n\n  x",
        &[3546, 46494, 37366, 4636, 242, 221, 8866, 1792],
    );

    let hi = [Message {
        role: "user",
        content: "Hi",
    }];
    let text = model.chat.render(&hi, Generation::Prompt).unwrap();
    let tokens = model.tokenizer.encode(&text, Specials::Parse).unwrap();
    assert_eq!(
        (tokens[0], tokens.iter().filter(|&&t| t == 2).count()),
        (1, 2)
    );
    assert_eq!(model.tokenizer.eos, [0, 2]);

    for (role, layer, row, first, sum) in [
        (
            Role::Embedding,
            None,
            905,
            [0.030_441_284, 0.138_000_49],
            0.573_044_776_916_503_9,
        ),
        (
            Role::Query,
            Some(0),
            17,
            [0.106_384_28, 0.106_384_28],
            -6.202_178_955_078_125,
        ),
        (
            Role::Down,
            Some(29),
            575,
            [-0.229_187_01, -0.039_123_535],
            -5.229_949_951_171_875,
        ),
    ] {
        let tensor = model.tensor(role, layer).unwrap();
        let mut values = vec![0.0; tensor.cols];
        model.row(tensor, row, &mut values);
        assert_eq!(values[..2], first, "{}", tensor.name);
        assert_eq!(
            values.iter().map(|&v| f64::from(v)).sum::<f64>(),
            sum,
            "{}",
            tensor.name
        );
    }
    assert_eq!(
        model.sha256(&Job::silent()).unwrap(),
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    );
}
