//! The MD5 of many files at once: each 64-byte block of MD5 waits for the one before, so that a core's vector units
//! stand idle over one file, and take one block of each of 8 or 16 files in hardly more time. Owns how pieces of
//! different lengths fill the lanes; must not know where the bytes come from.

use md5_many::{Md5Many, Md5State};

use super::{Hasher, Md5, STEP};

/// What MD5 takes at a time, in bytes.
const BLOCK: usize = 64;
/// The most lanes that any engine has.
const MOST: usize = 16;

/// The lanes of this machine.
#[derive(Clone, Copy)]
pub(in crate::package) struct Lanes {
    engine: Md5Many,
    lanes: usize,
}

/// A piece that follows what its file's digests took before.
pub(in crate::package) struct Piece<'a> {
    /// The digests that take it.
    pub(in crate::package) hasher: &'a mut Hasher,
    /// The bytes.
    pub(in crate::package) bytes: &'a [u8],
}

impl Lanes {
    pub(in crate::package) fn new() -> Lanes {
        let engine = Md5Many::new();
        Lanes {
            lanes: engine.lanes().min(MOST),
            engine,
        }
    }

    /// Gives each piece to its file's digests.
    pub(in crate::package) fn update(&self, pieces: &mut [Piece<'_>]) {
        for group in pieces.chunks_mut(self.lanes.max(1)) {
            for piece in group.iter_mut() {
                piece.hasher.update_but_md5(piece.bytes);
            }
            let mut streams: Vec<Stream<'_>> = group.iter_mut().map(Stream::new).collect();
            self.in_step(&mut streams);
            streams.iter_mut().for_each(Stream::finish);
        }
    }

    /// As long as enough files have whole blocks left, takes as many of each as the one with the fewest has.
    fn in_step(&self, streams: &mut [Stream<'_>]) {
        loop {
            let going = || streams.iter().filter(|one| !one.blocks.is_empty());
            let Some(shortest) = going().map(|one| one.blocks.len()).min() else {
                return;
            };
            if !self.worthwhile(going().count()) {
                return;
            }
            // All lanes' pieces have to lie in a core's cache.
            self.step(streams, shortest.min(STEP));
        }
    }

    /// A wide engine takes one or two files as slowly as all of its lanes.
    fn worthwhile(&self, files: usize) -> bool {
        files >= 2 && (self.lanes >= 8 || files > self.lanes / 2)
    }

    /// Takes so many bytes of each file that has blocks left. The engine is fast only where every lane has something
    /// to do, so those without a file repeat the first one's work, and what comes of it is thrown away.
    fn step(&self, streams: &mut [Stream<'_>], bytes: usize) {
        let mut states = [Md5State::new(); MOST];
        let mut inputs: [&[u8]; MOST] = [&[]; MOST];
        let mut used = 0usize;
        let places = states.iter_mut().zip(&mut inputs);
        let going = streams.iter_mut().filter(|one| !one.blocks.is_empty());
        for ((state, input), stream) in places.zip(going) {
            *state = stream.md5.0;
            (*input, stream.blocks) = stream.blocks.split_at(bytes);
            used = used.saturating_add(1);
            stream.taken = true;
        }
        let filler = (states[0], inputs[0]);
        for (state, input) in states.iter_mut().zip(&mut inputs).skip(used) {
            (*state, *input) = filler;
        }
        if let (Some(states), Some(inputs)) =
            (states.get_mut(..self.lanes), inputs.get(..self.lanes))
        {
            self.engine.update_many(states, inputs);
        }
        let taken = streams.iter_mut().filter(|one| one.taken);
        for (stream, state) in taken.zip(states) {
            stream.md5.0 = state;
            stream.taken = false;
        }
    }
}

/// A piece on its way into an MD5.
struct Stream<'a> {
    md5: &'a mut Md5,
    /// Whole blocks that are left.
    blocks: &'a [u8],
    /// What follows them.
    rest: &'a [u8],
    /// Whether the step that goes on takes some of it.
    taken: bool,
}

impl<'a> Stream<'a> {
    fn new<'p: 'a>(piece: &'a mut Piece<'p>) -> Stream<'a> {
        let md5 = piece.hasher.md5();
        // First what completes the block that the last piece began.
        let begun = md5.size().next_multiple_of(BLOCK as u64) - md5.size();
        let begun = usize::try_from(begun).unwrap_or(0).min(piece.bytes.len());
        let (first, bytes) = piece.bytes.split_at(begun);
        md5.update(first);
        let whole = bytes.len() - bytes.len() % BLOCK;
        let (blocks, rest) = bytes.split_at(whole);
        Stream {
            md5,
            blocks,
            rest,
            taken: false,
        }
    }

    /// Takes what did not go through the lanes.
    fn finish(&mut self) {
        self.md5.update(self.blocks);
        self.md5.update(self.rest);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;
    use fearless_simd::Level;
    use md5::Digest;
    use proptest::prelude::*;

    /// The engines that this processor has, each with the lanes that it is made for.
    fn engines() -> Vec<Lanes> {
        let best = Level::new();
        let mut levels = vec![best];
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        {
            levels.extend(best.as_avx2().map(Level::Avx2));
            levels.extend(best.as_sse4_2().map(Level::Sse4_2));
        }
        let engine = |level| {
            let engine = Md5Many::from_level(level);
            let lanes = engine.lanes().min(MOST);
            Lanes { engine, lanes }
        };
        levels.into_iter().map(engine).collect()
    }

    proptest! {
        /// Files of any lengths, in pieces of any lengths, beside as many others as there may be.
        #[test]
        fn lanes_give_what_md5_gives(
            files in prop::collection::vec((0usize..3_000, 1usize..700), 1..40),
            lanes in prop::sample::select(vec![0usize, 1, 4, 8, 16]),
            engine in 0usize..3,
        ) {
            let bytes: Vec<Vec<u8>> = files
                .iter()
                .enumerate()
                .map(|(at, (length, _))| (0..*length).map(|i| (i * 7 + at * 31 + i / 256) as u8).collect())
                .collect();
            let engines = engines();
            let engine = engines[engine % engines.len()];
            let engine = Lanes { lanes: if lanes == 0 { engine.lanes } else { lanes }, ..engine };
            let mut hashers: Vec<Hasher> = files.iter().map(|_| Hasher::default()).collect();
            for round in 0.. {
                let mut pieces: Vec<Piece<'_>> = hashers
                    .iter_mut()
                    .enumerate()
                    .filter_map(|(at, hasher)| {
                        let piece = bytes[at].chunks(files[at].1).nth(round)?;
                        Some(Piece { hasher, bytes: piece })
                    })
                    .collect();
                if pieces.is_empty() {
                    break;
                }
                engine.update(&mut pieces);
            }
            for (hasher, bytes) in hashers.into_iter().zip(&bytes) {
                let digests = hasher.finish();
                prop_assert_eq!(digests.md5, <[u8; 16]>::from(md5::Md5::digest(bytes)));
                prop_assert_eq!(digests.sha256, <[u8; 32]>::from(sha2::Sha256::digest(bytes)));
                prop_assert_eq!(digests.size, bytes.len() as u64);
            }
        }
    }

    /// Real pieces are longer than what the test above makes.
    #[test]
    fn long_pieces_in_every_number_of_lanes() {
        let bytes: Vec<u8> = (0..400_003u32).map(|i| (i ^ (i >> 7)) as u8).collect();
        let all = |engine: Lanes| (1..=2 * engine.lanes + 1).map(move |files| (engine, files));
        for (engine, files) in engines().into_iter().flat_map(all) {
            let mut hashers: Vec<Hasher> = (0..files).map(|_| Hasher::default()).collect();
            let mut pieces: Vec<Piece<'_>> = hashers
                .iter_mut()
                .enumerate()
                .map(|(at, hasher)| Piece {
                    hasher,
                    bytes: &bytes[at * 101..],
                })
                .collect();
            engine.update(&mut pieces);
            for (at, hasher) in hashers.into_iter().enumerate() {
                let expected: [u8; 16] = md5::Md5::digest(&bytes[at * 101..]).into();
                assert_eq!(hasher.finish().md5, expected, "file {at} of {files}");
            }
        }
    }
}
