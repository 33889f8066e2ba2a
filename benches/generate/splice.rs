//! Puts bz2 blocks together into one stream without packing them again: a bz2 stream is a header, blocks
//! that follow each other bit by bit, and an end with a checksum that is made of the blocks' own. So a
//! payload is compressed once and goes into any number of packages. It knows nothing of packages.

use rayon::prelude::*;

use crate::builder::archive;

/// 48 bits that stand before the stream's checksum (the digits of the square root of pi).
const END: u64 = 0x1772_4538_5090;
/// Magic and checksum, in bits.
const END_BITS: usize = 48 + 32;
const HEADER: &[u8] = b"BZh9";
/// How many bytes stand in a block before its checksum (the digits of pi).
const BLOCK_MAGIC: usize = 6;
/// Bytes that fit one block of 900,000 although the first coding makes 5 bytes of each run of 4: in bytes of
/// chance these are rare.
const CHUNK: usize = 890_000;

/// Some blocks: bits, the first of each byte being its highest; bits behind `length` are zero.
#[derive(Clone, Default)]
pub struct Blocks {
    bits: Vec<u8>,
    length: usize,
    checksum: u32,
    count: u32,
}

impl Blocks {
    /// Compresses bytes of any length, large ones by all threads.
    pub fn of(bytes: &[u8]) -> Self {
        let blocks: Vec<_> = bytes.par_chunks(CHUNK).map(Self::of_one).collect();
        let mut all = Self::default();
        for block in &blocks {
            all.append(block);
        }
        all
    }

    /// Compresses what fits one block.
    pub fn of_one(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self::default();
        }
        // The level says no more than how large a block may be, and a lower one takes less memory to begin with.
        let level = (bytes.len() / 80_000 + 1).min(9) as u32;
        let stream = archive::bz2(bytes, level);
        let (end_at, checksum) = find_end(&stream);
        let start = HEADER.len();
        // The checksum of one block is the stream's too.
        let first = &stream[start + BLOCK_MAGIC..][..4];
        assert_eq!(first, checksum.to_be_bytes(), "too much for one block");
        let length = end_at - start * 8;
        let mut bits = stream[start..start + length.div_ceil(8)].to_vec();
        if let (Some(last), used @ 1..) = (bits.last_mut(), length % 8) {
            *last &= 0xff << (8 - used);
        }
        Self {
            bits,
            length,
            checksum,
            count: 1,
        }
    }

    /// Appends the blocks of another.
    pub fn append(&mut self, other: &Self) {
        append_bits(&mut self.bits, &mut self.length, &other.bits, other.length);
        self.checksum = self.checksum.rotate_left(other.count % 32) ^ other.checksum;
        self.count += other.count;
    }

    /// A whole stream of these blocks and then those of `tail`.
    pub fn stream_with(&self, tail: &Self) -> Vec<u8> {
        let checksum = self.checksum.rotate_left(tail.count % 32) ^ tail.checksum;
        let end = u128::from(END) << 32 | u128::from(checksum);
        let mut stream = Vec::with_capacity(self.bits.len() + tail.bits.len() + 20);
        stream.extend_from_slice(HEADER);
        let mut length = HEADER.len() * 8;
        append_bits(&mut stream, &mut length, &self.bits, self.length);
        append_bits(&mut stream, &mut length, &tail.bits, tail.length);
        append_bits(
            &mut stream,
            &mut length,
            &end.to_be_bytes()[16 - END_BITS / 8..],
            END_BITS,
        );
        stream
    }
}

/// Where the end begins, in bits, and the checksum in it: it is the last thing, but for up to 7 bits.
fn find_end(stream: &[u8]) -> (usize, u32) {
    let mut last = [0; 16];
    let taken = stream.len().min(12);
    last[16 - taken..].copy_from_slice(&stream[stream.len() - taken..]);
    let last = u128::from_be_bytes(last);
    let padding = (0..8).find(|padding| (last >> padding >> 32) as u64 & 0xffff_ffff_ffff == END);
    let padding = padding.expect("a bz2 stream has an end");
    (
        stream.len() * 8 - padding - END_BITS,
        (last >> padding) as u32,
    )
}

fn append_bits(to: &mut Vec<u8>, to_length: &mut usize, bits: &[u8], length: usize) {
    let used = *to_length % 8;
    *to_length += length;
    if used == 0 {
        to.extend_from_slice(bits);
        return;
    }
    let Some((first, last_of_to)) = bits.first().zip(to.last_mut()) else {
        return;
    };
    *last_of_to |= first >> used;
    let pairs = bits.iter().zip(bits.iter().skip(1).chain(&[0]));
    to.extend(pairs.map(|(high, low)| high << (8 - used) | low >> used));
    to.truncate(to_length.div_ceil(8));
}
