//! Bytes of chance that are the same on every machine and every run. It is good for nothing else.
#![allow(dead_code)]

/// A tiny generator of pseudo-random numbers (xorshift64*).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Starts a sequence; neighbouring seeds give sequences that have nothing in common.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        (self.number() >> 11) % limit
    }

    /// `size` bytes that hold `bits` (1 to 8) bits of chance each: 8 do not compress, 4 compress to half.
    pub fn bytes(&mut self, size: usize, bits: u32) -> Vec<u8> {
        let mask = u64::from_ne_bytes([0xff_u8 >> (8 - bits); 8]);
        let mut bytes = Vec::with_capacity(size + 8);
        while bytes.len() < size {
            bytes.extend_from_slice(&(self.number() & mask).to_le_bytes());
        }
        bytes.truncate(size);
        bytes
    }
}
