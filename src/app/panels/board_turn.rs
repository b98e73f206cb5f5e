//! Under an answer of a board: whether it has this computer's bits, and its times beside the estimate.

use crate::app::transcript::BoardFacts;
use crate::app::{theme, units};
use crate::estimate::Range;
use eframe::egui::{Color32, RichText, Ui};

/// Draws both lines.
pub(super) fn board_turn_ui(ui: &mut Ui, facts: &BoardFacts) {
    let (color, verdict) = verdict(facts);
    let line = |text: String| RichText::new(text).monospace().size(11.0);
    ui.label(line(verdict).color(color)).on_hover_text(
        "The hash covers the logits of every step: this computer has answered the same question with the same packed file",
    );
    ui.label(line(times(facts)).color(theme::WEAK))
        .on_hover_text(
            "What the board says that it took, and what was estimated of the same turn before",
        );
}

/// Whether the board has computed what this computer does.
fn verdict(facts: &BoardFacts) -> (Color32, String) {
    let turn = &facts.turn;
    let hash = format!("logits {:016x}", turn.answer.logits_hash.0);
    match (facts.runs, turn.same_here, &turn.differs) {
        (Some(candidate), Some(true), _) => {
            let name = candidate.name();
            (theme::GOOD, format!("✔ {hash} as {name} computes here"))
        }
        (Some(_), Some(false), Some(differs)) => (theme::BAD, format!("✖ {differs}")),
        (Some(_), _, Some(why)) => (theme::WEAK, format!("{hash} · {why}")),
        (Some(_), _, None) => (theme::WEAK, hash),
        (None, _, _) => {
            let model = turn.hello.model.as_ref();
            let model = model.map_or_else(String::new, |model| {
                format!(
                    ": {} of {} bytes with checksum {:08x}",
                    model.name, model.bytes, model.crc
                )
            });
            (
                theme::WEAK,
                format!("{hash} · its model is not A nor B{model}"),
            )
        }
    }
}

fn times(facts: &BoardFacts) -> String {
    let (answer, estimated) = (&facts.turn.answer, facts.turn.estimated.as_ref());
    let beside = |range: Option<&Range>| {
        range.map_or_else(String::new, |range| {
            format!(" (estimated {})", units::range(range.low, range.high))
        })
    };
    let first = answer.first_token_secs.map(|secs| {
        let estimate = beside(estimated.and_then(|e| e.first_token_secs.as_ref()));
        format!("first token after {} s{estimate}", units::short(secs))
    });
    let rate = answer.decode_tokens_per_second.map(|rate| {
        let estimate = beside(estimated.and_then(|e| e.tokens_per_second.as_ref()));
        format!("then {} tokens/s{estimate}", units::short(rate))
    });
    let tokens = format!("{} tokens", answer.tokens.len());
    let board = estimated.map(|e| format!("estimate of {}: {}", e.board, e.validation.name()));
    let clock = facts.turn.clock.to_string();
    let parts = [first, rate, Some(tokens), Some(clock), board];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}
