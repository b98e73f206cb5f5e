//! A model that comes over the line and is written while the program runs.

use crate::serve::{refuse, send};
use crate::{Board, NO_MODEL, PIECE_BYTES, Store};
use engine::format::crc32_after;
use protocol::{Event, Received, Receiver, Request, decode};

/// A model that is being written.
struct Writing {
    id: u32,
    bytes: u32,
    crc: u32,
    /// All before this is in flash.
    written: u32,
}

/// Makes room as asked and takes pieces until all are there, the host leaves off, or something fails; then the board starts
/// again with what it has. Returns where nothing was begun: what is in flash can still be answered with.
pub(crate) fn store<B: Board>(
    board: &mut B,
    receiver: &mut Receiver,
    (id, bytes, crc): (u32, u32, u32),
    mut hello: impl FnMut(&mut B, &str),
) {
    let Some(room) = board.store().map(|store| store.room_bytes()) else {
        return refuse(board, id, &"this board takes no model over this line");
    };
    if bytes > room {
        return refuse(board, id, &LongModel { bytes, room });
    }
    let mut writing = begin(board, (id, bytes, crc));
    loop {
        let Some(byte) = board.read() else {
            board.idle();
            continue;
        };
        let Some(Received::Frame(frame)) = receiver.push(byte) else {
            continue;
        };
        match decode(frame) {
            Ok(Request::Piece { id, offset, bytes }) => {
                writing = match writing {
                    Some(writing) if writing.id == id => piece(board, writing, offset, bytes),
                    other => {
                        refuse(board, id, &"no such model is being stored");
                        other
                    }
                };
            }
            Ok(Request::Store { id, bytes, crc }) if bytes <= room => {
                writing = begin(board, (id, bytes, crc));
            }
            Ok(Request::Store { id, bytes, .. }) => refuse(board, id, &LongModel { bytes, room }),
            Ok(Request::Hello) => match writing {
                Some(_) => hello(board, "a model is being written"),
                None => hello(board, NO_MODEL),
            },
            Ok(Request::Cancel | Request::Reboot) => writing = start_again(board),
            Ok(Request::Ask(ask) | Request::Measure(ask)) => {
                refuse(board, ask.id, &"a model is being written");
            }
            Ok(Request::SelfTest { id }) => refuse(board, id, &"a model is being written"),
            Err(error) => refuse(board, 0, &error),
        }
    }
}

/// Makes room; none where there is nothing to wait for.
fn begin<B: Board>(board: &mut B, (id, bytes, crc): (u32, u32, u32)) -> Option<Writing> {
    let made = with_store(board, |store| {
        store.erase(bytes)?;
        if bytes == 0 { store.commit() } else { Ok(()) }
    });
    if let Err(why) = made {
        return fail(board, id, why);
    }
    send(board, &Event::Stored { id, bytes: 0 });
    if bytes == 0 {
        return start_again(board);
    }
    Some(Writing {
        id,
        bytes,
        crc,
        written: 0,
    })
}

/// Writes the next piece; none where it was the last, or the flash failed.
fn piece<B: Board>(
    board: &mut B,
    mut writing: Writing,
    offset: u32,
    bytes: &[u8],
) -> Option<Writing> {
    let id = writing.id;
    let end = offset.saturating_add(bytes.len() as u32);
    let is_whole = bytes.len() == PIECE_BYTES || end == writing.bytes;
    if bytes.is_empty() || !is_whole || end > writing.bytes {
        refuse(board, id, &"this is no piece of the model");
        return Some(writing);
    }
    if end == writing.written {
        // The host did not hear that it is there.
        send(board, &Event::Stored { id, bytes: end });
        return Some(writing);
    }
    if offset != writing.written {
        refuse(board, id, &"these bytes are not the next ones");
        return Some(writing);
    }
    writing.written = end;
    let written = with_store(board, |store| {
        store.write(offset, bytes)?;
        if end < writing.bytes {
            return Ok(());
        }
        checked(store, &writing)?;
        store.commit()
    });
    if let Err(why) = written {
        return fail(board, id, why);
    }
    send(board, &Event::Stored { id, bytes: end });
    if end == writing.bytes {
        return start_again(board);
    }
    Some(writing)
}

fn fail<B: Board>(board: &mut B, id: u32, why: &'static str) -> Option<Writing> {
    refuse(board, id, &why);
    start_again(board)
}

/// The board starts with what it has now; one that cannot goes on without a model.
fn start_again<B: Board>(board: &mut B) -> Option<Writing> {
    board.restart();
    None
}

/// Fails unless the flash reads back as the host said.
fn checked(store: &mut dyn Store, writing: &Writing) -> Result<(), &'static str> {
    let mut crc = 0;
    let mut piece = [0; PIECE_BYTES];
    let mut at = 0;
    while at < writing.bytes {
        let length = (writing.bytes - at).min(PIECE_BYTES as u32);
        let piece = &mut piece[..length as usize];
        store.read(at, piece)?;
        crc = crc32_after(crc, piece);
        at += length;
    }
    if crc == writing.crc {
        Ok(())
    } else {
        Err("the flash does not read back what was sent")
    }
}

fn with_store<B: Board>(
    board: &mut B,
    work: impl FnOnce(&mut dyn Store) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    work(
        board
            .store()
            .ok_or("this board takes no model over this line")?,
    )
}

struct LongModel {
    bytes: u32,
    room: u32,
}

impl core::fmt::Display for LongModel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { bytes, room } = self;
        write!(f, "needs {bytes} bytes for the model, the board has {room}")
    }
}
