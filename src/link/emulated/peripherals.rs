//! The peripherals of an ESP32-C3 that firmware talks to: UART 0, USB Serial/JTAG, system timer, GPIO, eFuses, who its
//! flash is. Of all others a register reads as it was written.
//!
//! Source: ESP32-C3 Technical Reference Manual (version 1.1), the register lists of its chapters; what start-up code
//! waits for is named where it is answered.

use std::collections::{BTreeMap, VecDeque};

/// Where peripherals are.
pub(super) const PERIPHERALS: std::ops::Range<u32> = 0x6000_0000..0x600D_0000;
/// The core's clock after start-up, and that of the system timer.
const CORE_HZ: u64 = 160_000_000;
const TIMER_HZ: u64 = 16_000_000;

/// Registers by address.
mod register {
    /// UART 0: data, raw interrupts, status (bytes that wait), identity.
    pub(super) const UART_FIFO: u32 = 0x6000_0000;
    pub(super) const UART_RAW: u32 = 0x6000_0004;
    pub(super) const UART_STATUS: u32 = 0x6000_001C;
    pub(super) const UART_ID: u32 = 0x6000_0080;
    /// USB Serial/JTAG: data, its state.
    pub(super) const USB_DATA: u32 = 0x6004_3000;
    pub(super) const USB_STATE: u32 = 0x6004_3004;
    /// GPIO: level of the outputs, and the registers that set and clear single ones.
    pub(super) const GPIO_OUT: u32 = 0x6000_4004;
    pub(super) const GPIO_OUT_SET: u32 = 0x6000_4008;
    pub(super) const GPIO_OUT_CLEAR: u32 = 0x6000_400C;
    pub(super) const GPIO_ENABLE: u32 = 0x6000_4020;
    pub(super) const GPIO_ENABLE_SET: u32 = 0x6000_4024;
    pub(super) const GPIO_ENABLE_CLEAR: u32 = 0x6000_4028;
    /// The controller of the flash: command, and the first word that comes back.
    pub(super) const FLASH_COMMAND: u32 = 0x6000_2000;
    pub(super) const FLASH_WORD: u32 = 0x6000_2058;
    /// System timer: command and value of its two units.
    pub(super) const TIMER_COMMAND: [u32; 2] = [0x6002_3004, 0x6002_3008];
    pub(super) const TIMER_HIGH: [u32; 2] = [0x6002_3040, 0x6002_3048];
    pub(super) const TIMER_LOW: [u32; 2] = [0x6002_3044, 0x6002_304C];
    /// Timer group 0 measures the slow clock: state, and the count of the crystal's cycles.
    pub(super) const CALIBRATION: u32 = 0x6001_F068;
    pub(super) const CALIBRATION_COUNT: u32 = 0x6001_F06C;
}

/// A value is there (system timer, command registers).
const TIMER_VALID: u32 = 1 << 29;
/// A measurement is done (timer group, `RTC_CALI_RDY`).
const CALIBRATED: u32 = 1 << 15;
/// Cycles of the crystal in so many of the slow clock that what comes out is 136 kHz, as the manual has it.
const SLOW_CLOCK_COUNT: u32 = 3500 << 7;
/// Bytes can be sent (USB Serial/JTAG, `SERIAL_IN_EP_DATA_FREE`), and some have come (`SERIAL_OUT_EP_DATA_AVAIL`).
const USB_FREE: u32 = 1 << 1;
const USB_AVAILABLE: u32 = 1 << 2;
/// "Read the flash's identity" (flash controller, `SPI_MEM_FLASH_RDID`).
const READ_IDENTITY: u32 = 1 << 28;
/// Maker (Winbond) and kind of the flash; the third byte is the logarithm of its size.
const FLASH_IDENTITY: u32 = 0x40EF;
/// Bytes that a UART holds.
const FIFO_BYTES: usize = 128;
/// Identity of the UART after reset; the bit that says "registers are being taken over" is clear.
const UART_IDENTITY: u32 = 0x500;

/// Bytes in both directions of a serial unit, from the chip's side.
#[derive(Debug, Default)]
pub(super) struct Serial {
    /// Come, not read yet.
    pub(super) received: VecDeque<u8>,
    /// Sent, not taken yet.
    pub(super) sent: Vec<u8>,
}

/// All registers, and what those with a meaning stand for.
#[derive(Debug)]
pub(super) struct Peripherals {
    registers: BTreeMap<u32, u32>,
    flash_identity: u32,
    pub(super) uart: Serial,
    pub(super) usb: Serial,
    /// Values that the system timer's units hold.
    timer: [u64; 2],
    /// Cycles of the core, those in which it slept too.
    pub(super) cycles: u64,
    /// How often a program looked for a byte since the last that came or went: it waits.
    pub(super) looked_for_bytes: u32,
}

impl Peripherals {
    /// As after a reset, with these eFuses by address, and so many bytes of flash.
    pub(super) fn new(fuses: BTreeMap<u32, u32>, flash_bytes: usize) -> Self {
        let size = flash_bytes.checked_ilog2().unwrap_or(0);
        Self {
            registers: fuses,
            flash_identity: FLASH_IDENTITY | size << 16,
            uart: Serial::default(),
            usb: Serial::default(),
            timer: [0; 2],
            cycles: 0,
            looked_for_bytes: 0,
        }
    }

    fn kept(&self, address: u32) -> u32 {
        self.registers.get(&address).copied().unwrap_or(0)
    }

    pub(super) fn read(&mut self, address: u32) -> u32 {
        let unit_of = |list: [u32; 2]| list.iter().position(|register| *register == address);
        match address {
            register::UART_FIFO => Self::next_byte(&mut self.uart),
            register::UART_RAW => u32::from(!self.uart.received.is_empty()),
            register::UART_STATUS => {
                let waiting = self.uart.received.len().min(FIFO_BYTES);
                self.look_for_bytes(waiting);
                waiting as u32
            }
            register::UART_ID => UART_IDENTITY,
            register::USB_DATA => Self::next_byte(&mut self.usb),
            register::USB_STATE => {
                let waiting = self.usb.received.len();
                self.look_for_bytes(waiting);
                USB_FREE | if waiting > 0 { USB_AVAILABLE } else { 0 }
            }
            register::CALIBRATION => self.kept(address) | CALIBRATED,
            register::CALIBRATION_COUNT => SLOW_CLOCK_COUNT,
            _ => {
                if unit_of(register::TIMER_COMMAND).is_some() {
                    self.kept(address) | TIMER_VALID
                } else if let Some(unit) = unit_of(register::TIMER_HIGH) {
                    (self.timer[unit] >> 32) as u32
                } else if let Some(unit) = unit_of(register::TIMER_LOW) {
                    self.timer[unit] as u32
                } else {
                    self.kept(address)
                }
            }
        }
    }

    pub(super) fn write(&mut self, address: u32, value: u32) {
        match address {
            register::UART_FIFO => self.send(value, |all| &mut all.uart),
            register::USB_DATA => self.send(value, |all| &mut all.usb),
            // A command is done when it reads as zero: at once.
            register::FLASH_COMMAND => {
                if value & READ_IDENTITY != 0 {
                    self.registers
                        .insert(register::FLASH_WORD, self.flash_identity);
                }
            }
            register::GPIO_OUT_SET => self.change(register::GPIO_OUT, |old| old | value),
            register::GPIO_OUT_CLEAR => self.change(register::GPIO_OUT, |old| old & !value),
            register::GPIO_ENABLE_SET => self.change(register::GPIO_ENABLE, |old| old | value),
            register::GPIO_ENABLE_CLEAR => self.change(register::GPIO_ENABLE, |old| old & !value),
            _ => {
                let units = register::TIMER_COMMAND;
                if let Some(unit) = units.iter().position(|command| *command == address) {
                    self.timer[unit] = self.cycles / (CORE_HZ / TIMER_HZ);
                }
                self.registers.insert(address, value);
            }
        }
    }

    fn change(&mut self, address: u32, new: impl Fn(u32) -> u32) {
        let value = new(self.kept(address));
        self.registers.insert(address, value);
    }

    fn next_byte(serial: &mut Serial) -> u32 {
        serial.received.pop_front().map_or(0, u32::from)
    }

    fn send(&mut self, value: u32, serial: impl Fn(&mut Self) -> &mut Serial) {
        serial(self).sent.push(value as u8);
        self.looked_for_bytes = 0;
    }

    fn look_for_bytes(&mut self, waiting: usize) {
        self.looked_for_bytes = match waiting {
            0 => self.looked_for_bytes.saturating_add(1),
            _ => 0,
        };
    }
}
