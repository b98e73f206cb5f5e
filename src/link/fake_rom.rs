//! The serial protocol of an ESP32-C3's ROM loader and flasher stub, answered from memory.
//!
//! Source: esptool's "Serial Protocol" documentation, and traces of espflash 4.7 against the real
//! ROM in an emulator. Framing is SLIP (RFC 1055). Only what a flashing session sends is answered;
//! everything else gets the ROM's own error for an invalid command.

use md5::{Digest as _, Md5};
use std::collections::{BTreeMap, VecDeque};
use std::io::Read as _;
use std::ops::Range;

/// Flash of the board where nothing else is said: 4 MiB.
pub(super) const FLASH_BYTES: usize = 4 << 20;
const SECTOR_BYTES: usize = 4096;
/// Chip number of the ESP32-C3 in the answer to `GET_SECURITY_INFO`.
const CHIP_ID: u32 = 5;
/// Maker and type of the flash as the SPI controller returns its JEDEC id; the third byte is the
/// binary logarithm of its size.
const FLASH_MAKER: u32 = 0x0000_40C8;

/// Registers of the SPI controller through which a host asks the flash for its id.
const SPI_COMMAND: u32 = 0x6000_2000;
const SPI_COMMAND_START: u32 = 1 << 18;
const SPI_DATA: u32 = 0x6000_2058;
/// The two words of the MAC address in the eFuses.
const EFUSE_MAC: [(u32, u32); 2] = [(0x6000_8844, 0x1122_3344), (0x6000_8848, 0x0000_5566)];
/// Words of the eFuses that hold the chip's revision: the minor number's low bits at bit 18 of the first; its high bit at 23
/// and the major number at 24 of the second.
const EFUSE_REVISION: [u32; 2] = [0x6000_8850, 0x6000_8858];

/// Error codes of the ROM.
const INVALID_MESSAGE: u8 = 5;
const INVALID_CHECKSUM: u8 = 7;

/// Commands of a flashing session, numbered as on the wire.
pub mod command {
    #![expect(missing_docs, reason = "the names are those of the protocol")]
    pub const FLASH_BEGIN: u8 = 0x02;
    pub const FLASH_DATA: u8 = 0x03;
    pub const FLASH_END: u8 = 0x04;
    pub const MEM_BEGIN: u8 = 0x05;
    pub const MEM_END: u8 = 0x06;
    pub const MEM_DATA: u8 = 0x07;
    pub const SYNC: u8 = 0x08;
    pub const WRITE_REG: u8 = 0x09;
    pub const READ_REG: u8 = 0x0A;
    pub const SPI_SET_PARAMS: u8 = 0x0B;
    pub const SPI_ATTACH: u8 = 0x0D;
    pub const CHANGE_BAUDRATE: u8 = 0x0F;
    pub const FLASH_DEFL_BEGIN: u8 = 0x10;
    pub const FLASH_DEFL_DATA: u8 = 0x11;
    pub const FLASH_DEFL_END: u8 = 0x12;
    pub const SPI_FLASH_MD5: u8 = 0x13;
    pub const GET_SECURITY_INFO: u8 = 0x14;
    pub const READ_FLASH: u8 = 0xD2;
}

/// Who answers: the statuses differ in length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Running {
    Rom,
    Stub,
}

/// A write that a host began.
#[derive(Debug)]
enum Write {
    Plain {
        address: usize,
    },
    Deflated {
        address: usize,
        bytes: usize,
        received: Vec<u8>,
    },
}

/// What is burnt into the chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fuses {
    /// 100 times the major number of the chip's revision and the minor.
    pub revision: u16,
    /// As `GET_SECURITY_INFO` has them: bit 0 secure boot, bit 2 secure download.
    pub security_flags: u32,
    /// An odd number of its bits turns flash encryption on.
    pub flash_crypt_count: u8,
}

impl Default for Fuses {
    /// A chip as boards of today have it: revision 0.3, open.
    fn default() -> Self {
        Self {
            revision: 3,
            security_flags: 0,
            flash_crypt_count: 0,
        }
    }
}

/// The loader and the flash that it writes.
#[derive(Debug)]
pub(super) struct Rom {
    pub(super) flash: Vec<u8>,
    fuses: Fuses,
    /// A bit of this address flips whenever it is written.
    pub(super) worn: Option<usize>,
    /// Line rates that a host asked for.
    pub(super) rates: Vec<u32>,
    loader: Running,
    registers: BTreeMap<u32, u32>,
    write: Option<Write>,
    read: Option<Read>,
}

/// A read that a host began of the stub: a block is sent, and told to have come, until all were; then their MD5.
#[derive(Debug)]
struct Read {
    start: usize,
    sent: usize,
    bytes: usize,
    block: usize,
}

/// What an answer carries beside its status.
struct Answer {
    value: u32,
    body: Vec<u8>,
}

impl Rom {
    /// A chip with an erased flash of `flash_bytes`, rounded up to a power of two.
    pub(super) fn new(flash_bytes: usize) -> Self {
        let flash = vec![0xFF; flash_bytes.next_power_of_two()];
        let registers = EFUSE_MAC.into_iter().collect();
        let mut rom = Self {
            flash,
            fuses: Fuses::default(),
            worn: None,
            rates: Vec::new(),
            loader: Running::Rom,
            registers,
            write: None,
            read: None,
        };
        rom.burn(Fuses::default());
        rom
    }

    /// The registers that hold the chip's eFuses.
    pub(super) fn fuses(&self) -> BTreeMap<u32, u32> {
        let addresses = EFUSE_MAC
            .map(|(address, _)| address)
            .into_iter()
            .chain(EFUSE_REVISION);
        let kept = addresses.filter_map(|address| self.registers.get_key_value(&address));
        kept.map(|(address, value)| (*address, *value)).collect()
    }

    /// Burns eFuses.
    pub(super) fn burn(&mut self, fuses: Fuses) {
        let (major, minor) = (
            u32::from(fuses.revision / 100),
            u32::from(fuses.revision % 100),
        );
        let words = [
            (minor & 7) << 18,
            (minor >> 3 & 1) << 23 | (major & 3) << 24,
        ];
        self.registers.extend(EFUSE_REVISION.into_iter().zip(words));
        self.fuses = fuses;
    }

    /// Answers one request `00 op len16 chk32 data` with encoded frames; nothing to what is no request.
    pub(super) fn answer(&mut self, frame: &[u8]) -> Vec<u8> {
        if let (Ok(count), Some(_)) = (<[u8; 4]>::try_from(frame), &self.read) {
            return self.go_on_reading(u32::from_le_bytes(count) as usize);
        }
        let [0, op, _, _, checksum, _, _, _, data @ ..] = frame else {
            return Vec::new();
        };
        let op = *op;
        if op == command::SYNC {
            // A session starts: the reset that a real board would have had.
            self.restart();
            return self
                .frame(
                    op,
                    Ok(Answer {
                        value: 0x2012_0720,
                        body: Vec::new(),
                    }),
                )
                .repeat(8);
        }
        let carries_payload = matches!(
            op,
            command::FLASH_DATA | command::MEM_DATA | command::FLASH_DEFL_DATA
        );
        let intact = !carries_payload
            || data.iter().skip(16).fold(0xEF, |sum, byte| sum ^ byte) == *checksum;
        let result = if intact {
            self.execute(op, data)
        } else {
            Err(INVALID_CHECKSUM)
        };
        let starts_stub = op == command::MEM_END
            && result.is_ok()
            && word(data, 1).is_some_and(|entry| entry != 0);
        let mut frames = self.frame(op, result);
        if starts_stub {
            self.loader = Running::Stub;
            frames.extend(encode(b"OHAI"));
        }
        if self.read.is_some() {
            frames.extend(self.next_block());
        }
        frames
    }

    /// Forgets the session and the stub.
    pub(super) fn restart(&mut self) {
        self.loader = Running::Rom;
        (self.write, self.read) = (None, None);
    }

    /// Says that a command failed.
    pub(super) fn refuse(&self, op: u8, code: u8) -> Vec<u8> {
        self.frame(op, Err(code))
    }

    /// What follows when a host has so many bytes of a read.
    fn go_on_reading(&mut self, came: usize) -> Vec<u8> {
        let Some(read) = &self.read else {
            return Vec::new();
        };
        if came < read.bytes {
            return self.next_block();
        }
        let digest = Md5::digest(&self.flash[read.start..read.start + read.bytes]);
        self.read = None;
        encode(&digest)
    }

    fn next_block(&mut self) -> Vec<u8> {
        let Some(read) = &mut self.read else {
            return Vec::new();
        };
        let from = read.start + read.sent;
        let bytes = read.block.min(read.bytes - read.sent);
        read.sent += bytes;
        encode(&self.flash[from..from + bytes])
    }

    fn execute(&mut self, op: u8, data: &[u8]) -> Result<Answer, u8> {
        let mut answer = Answer {
            value: 0,
            body: Vec::new(),
        };
        let argument = |index| word(data, index).ok_or(INVALID_MESSAGE);
        match op {
            command::GET_SECURITY_INFO => {
                answer.body = self.fuses.security_flags.to_le_bytes().to_vec();
                answer.body.push(self.fuses.flash_crypt_count);
                answer.body.extend([0; 7]);
                answer.body.extend(CHIP_ID.to_le_bytes());
                answer.body.extend(3_u32.to_le_bytes());
            }
            command::READ_REG => {
                answer.value = self.registers.get(&argument(0)?).copied().unwrap_or(0)
            }
            command::WRITE_REG => self.write_register(argument(0)?, argument(1)?, argument(2)?),
            command::SPI_ATTACH
            | command::SPI_SET_PARAMS
            | command::MEM_BEGIN
            | command::MEM_DATA
            | command::MEM_END
            | command::FLASH_END
            | command::FLASH_DEFL_END => {}
            command::CHANGE_BAUDRATE => self.rates.push(argument(0)?),
            command::FLASH_BEGIN => {
                let range = self.range(argument(3)?, argument(0)?)?;
                self.write = Some(Write::Plain {
                    address: range.start,
                });
                self.erase(range);
            }
            command::FLASH_DEFL_BEGIN => {
                let range = self.range(argument(3)?, argument(0)?)?;
                let (address, bytes) = (range.start, range.len());
                self.write = Some(Write::Deflated {
                    address,
                    bytes,
                    received: Vec::new(),
                });
                self.erase(range);
            }
            command::FLASH_DATA | command::FLASH_DEFL_DATA => self.write_data(payload(data)?)?,
            command::SPI_FLASH_MD5 => {
                let range = self.range(argument(0)?, argument(1)?)?;
                let digest = Md5::digest(&self.flash[range]);
                answer.body = match self.loader {
                    Running::Stub => digest.to_vec(),
                    Running::Rom => digest
                        .iter()
                        .flat_map(|byte| format!("{byte:02x}").into_bytes())
                        .collect(),
                };
            }
            command::READ_FLASH if self.loader == Running::Stub => {
                let range = self.range(argument(0)?, argument(1)?)?;
                let block = argument(2)?.max(1) as usize;
                self.read = Some(Read {
                    start: range.start,
                    sent: 0,
                    bytes: range.len(),
                    block,
                });
            }
            _ => return Err(INVALID_MESSAGE),
        }
        Ok(answer)
    }

    fn write_register(&mut self, address: u32, value: u32, mask: u32) {
        let old = self.registers.get(&address).copied().unwrap_or(0);
        let mut new = (old & !mask) | (value & mask);
        if address == SPI_COMMAND && new & SPI_COMMAND_START != 0 {
            // The transfer is over at once; the only one a host asks for reads the id.
            new = 0;
            self.registers
                .insert(SPI_DATA, FLASH_MAKER | self.flash.len().ilog2() << 16);
        }
        self.registers.insert(address, new);
    }

    fn range(&self, address: u32, bytes: u32) -> Result<Range<usize>, u8> {
        let start = address as usize;
        let end = start
            .checked_add(bytes as usize)
            .filter(|end| *end <= self.flash.len());
        end.map(|end| start..end).ok_or(INVALID_MESSAGE)
    }

    fn erase(&mut self, range: Range<usize>) {
        let end = range
            .end
            .next_multiple_of(SECTOR_BYTES)
            .min(self.flash.len());
        self.flash[range.start - range.start % SECTOR_BYTES..end].fill(0xFF);
    }

    fn write_data(&mut self, data: &[u8]) -> Result<(), u8> {
        let (address, bytes) = match self.write.as_mut().ok_or(INVALID_MESSAGE)? {
            Write::Plain { address } => {
                let start = *address;
                *address += data.len();
                (start, data.to_vec())
            }
            Write::Deflated {
                address,
                bytes,
                received,
            } => {
                received.extend_from_slice(data);
                let mut inflated = Vec::new();
                // Every block inflates what came so far; an error means that more is to come.
                let reader = flate2::read::ZlibDecoder::new(received.as_slice());
                let whole = reader
                    .take(*bytes as u64)
                    .read_to_end(&mut inflated)
                    .is_ok();
                if !whole || inflated.len() < *bytes {
                    return Ok(());
                }
                (*address, inflated)
            }
        };
        // The last block of a plain write is padded, past the end of the flash if need be.
        let end = (address + bytes.len()).min(self.flash.len());
        let start = address.min(end);
        self.flash[start..end].copy_from_slice(&bytes[..end - start]);
        if let Some(worn) = self.worn.filter(|worn| (start..end).contains(worn)) {
            self.flash[worn] ^= 0x10;
        }
        Ok(())
    }

    /// `01 op size16 value32 body status`, encoded.
    fn frame(&self, op: u8, result: Result<Answer, u8>) -> Vec<u8> {
        let (answer, status) = match result {
            Ok(answer) => (answer, [0, 0]),
            Err(code) => (
                Answer {
                    value: 0,
                    body: Vec::new(),
                },
                [1, code],
            ),
        };
        let mut body = answer.body;
        body.extend(status);
        match self.loader {
            Running::Rom => body.extend([0, 0]),
            Running::Stub => {}
        }
        let length = u16::try_from(body.len()).expect("the longest body is an MD5 in hex");
        let mut frame = vec![1, op];
        frame.extend(length.to_le_bytes());
        frame.extend(answer.value.to_le_bytes());
        frame.extend(body);
        encode(&frame)
    }
}

fn word(data: &[u8], index: usize) -> Option<u32> {
    data.chunks_exact(4)
        .nth(index)
        .map(|bytes| u32::from_le_bytes(bytes.try_into().expect("chunks of four")))
}

/// The bytes after the four words of a data command: as many as the first says.
fn payload(data: &[u8]) -> Result<&[u8], u8> {
    let length = word(data, 0).ok_or(INVALID_MESSAGE)? as usize;
    data.get(16..)
        .and_then(|rest| rest.get(..length))
        .ok_or(INVALID_MESSAGE)
}

const END: u8 = 0xC0;
const ESCAPE: u8 = 0xDB;
const ESCAPED_END: u8 = 0xDC;
const ESCAPED_ESCAPE: u8 = 0xDD;

/// A SLIP frame around `bytes`.
fn encode(bytes: &[u8]) -> Vec<u8> {
    let mut frame = vec![END];
    for byte in bytes {
        match *byte {
            END => frame.extend([ESCAPE, ESCAPED_END]),
            ESCAPE => frame.extend([ESCAPE, ESCAPED_ESCAPE]),
            other => frame.push(other),
        }
    }
    frame.push(END);
    frame
}

/// Cuts a byte stream into SLIP frames.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: VecDeque<u8>,
    frame: Vec<u8>,
    is_escaped: bool,
}

impl Frames {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// The next whole frame; empty ones between two ends are skipped.
    pub(super) fn next_frame(&mut self) -> Option<Vec<u8>> {
        while let Some(byte) = self.bytes.pop_front() {
            match byte {
                END if self.frame.is_empty() => {}
                END => return Some(std::mem::take(&mut self.frame)),
                ESCAPE => self.is_escaped = true,
                other if self.is_escaped => {
                    self.is_escaped = false;
                    self.frame
                        .push(if other == ESCAPED_END { END } else { ESCAPE });
                }
                other => self.frame.push(other),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_bytes_and_any_cuts() {
        let message: Vec<u8> = (0..=255).chain([END, ESCAPE, END, ESCAPE]).collect();
        let stream = [encode(&message), encode(b"OHAI")].concat();
        for cut in 0..stream.len() {
            let mut frames = Frames::default();
            let mut seen = Vec::new();
            for part in [&stream[..cut], &stream[cut..]] {
                frames.push(part);
                seen.extend(std::iter::from_fn(|| frames.next_frame()));
            }
            assert_eq!(seen, [message.clone(), b"OHAI".to_vec()]);
        }
    }

    #[test]
    fn requests_outside_the_flash_are_refused() {
        let mut rom = Rom::new(FLASH_BYTES);
        let begin = |address: u32, bytes: u32| {
            let mut data = vec![0, command::FLASH_BEGIN, 16, 0, 0, 0, 0, 0];
            for argument in [bytes, 1, 1024, address] {
                data.extend(argument.to_le_bytes());
            }
            data
        };
        let status = |frame: &[u8]| frame[9];
        assert_eq!(status(&rom.answer(&begin(0x1000, 4096))), 0);
        assert_eq!(status(&rom.answer(&begin(u32::MAX, 4096))), 1);
        assert_eq!(status(&rom.answer(&begin(0x1000, FLASH_BYTES as u32))), 1);
        assert!(rom.answer(b"no request").is_empty());
        assert!(rom.answer(&[]).is_empty());
    }
}
