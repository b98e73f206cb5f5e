//! Under an answer of a board: whether it has this computer's bits, and its times beside the estimate.

use crate::app::transcript::BoardFacts;
use crate::app::{theme, units};
use crate::estimate::Range;
use eframe::egui::{Color32, RichText, Sense, Ui, vec2};

/// Size of the mark before the hash.
const MARK: f32 = 8.0;

/// Draws the mark and the lines.
pub(super) fn board_turn_ui(ui: &mut Ui, facts: &BoardFacts) {
    let line = |text: String| RichText::new(text).monospace().size(11.0);
    let (color, verdict) = verdict(facts);
    ui.horizontal(|ui| {
        let (place, _) = ui.allocate_exact_size(vec2(MARK, MARK), Sense::hover());
        ui.painter().circle_filled(place.center(), MARK / 2.0, color);
        ui.label(line(verdict).color(color)).on_hover_text(
            "The hash covers the logits of every step: this computer has answered the same question with the same packed file",
        );
    });
    ui.label(line(times(facts)).color(theme::WEAK))
        .on_hover_text(
            "What the board says that it took, and what was estimated of the same turn before",
        );
    ui.label(line(origins(facts)).color(theme::WEAK));
}

/// Whether the board has computed what this computer does.
fn verdict(facts: &BoardFacts) -> (Color32, String) {
    let turn = &facts.turn;
    let hash = format!("logits {:016x}", turn.answer.logits_hash.0);
    match (facts.runs, turn.same_here, &turn.differs) {
        (Some(candidate), Some(true), _) => {
            let name = candidate.name();
            (theme::GOOD, format!("{hash} as {name} computes here"))
        }
        (Some(_), Some(false), Some(differs)) => (theme::BAD, differs.clone()),
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
    [first, rate]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" · ")
}

/// What the times are of, whose clock they are by, and what the estimate was held against.
fn origins(facts: &BoardFacts) -> String {
    let turn = &facts.turn;
    let (tokens, clock) = (turn.answer.tokens.len(), turn.clock);
    let estimate = turn.estimated.as_ref().map_or_else(String::new, |e| {
        format!(" · estimate of {}: {}", e.board, e.validation.name())
    });
    format!("{tokens} tokens · {clock}{estimate}")
}
