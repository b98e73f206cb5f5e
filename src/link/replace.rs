//! A model that is sent to a board whose firmware stays, and one that is erased there ([`Client::store`]).

use super::image::require_format;
use super::returning::{prove_started, when_back};
use super::{Client, Device, Greeting, HELLO_PATIENCE, Proof, ProofError, ports};
use crate::board::{Board, FlashMethod};
use crate::job::Job;
use crate::packed::PackedModel;

/// Sends a packed model to a board that writes it itself, waits until it has started again with it, and compares its
/// self-test with this program's.
///
/// # Errors
/// When it is another board, does not take the model, does not come back, or computes something else.
pub fn replace_model(
    device: &Device,
    (board, packed): (&Board, &PackedModel),
    job: &Job<'_>,
) -> Result<Proof, ProofError> {
    let mut client = device.client()?;
    let hello = client.hello(HELLO_PATIENCE, job)?;
    let expected = family(board);
    if hello.board != expected {
        return Err(ProofError::OtherBoard {
            expected: expected.to_owned(),
            found: hello.board,
        });
    }
    require_format(&hello.firmware, packed.bytes()).map_err(ProofError::OldFirmware)?;
    let before = ports().unwrap_or_default();
    store(device, client, (&hello, packed.bytes()), job)?;
    prove_started(device, &before, packed, job)
}

/// Has a board erase its model; returns what it says after it has started again.
///
/// # Errors
/// When it does not, or does not come back.
pub fn erase_model(device: &Device, job: &Job<'_>) -> Result<Greeting, ProofError> {
    let mut client = device.client()?;
    let hello = client.hello(HELLO_PATIENCE, job)?;
    let before = ports().unwrap_or_default();
    store(device, client, (&hello, &[]), job)?;
    let ask = |client: &mut Client| Ok(client.hello(HELLO_PATIENCE, job)?);
    let (after, _) = when_back(device, &before, job, ask)?;
    match after.model {
        Some(_) => Err(ProofError::NotErased(after.title())),
        None => Ok(after),
    }
}

/// What the firmware of a board calls itself.
fn family(board: &Board) -> &str {
    match board.flash_method {
        FlashMethod::Linux => "linux",
        FlashMethod::EspressifSerial
        | FlashMethod::JLink
        | FlashMethod::StLink
        | FlashMethod::Uf2 => &board.chip,
    }
}

fn store(
    device: &Device,
    mut client: Client,
    (hello, bytes): (&Greeting, &[u8]),
    job: &Job<'_>,
) -> Result<(), ProofError> {
    let stored = client.store(hello, bytes, job);
    // What was written in part is kept as well, as by a chip.
    device.keep().map_err(ProofError::NotKept)?;
    Ok(stored?)
}
