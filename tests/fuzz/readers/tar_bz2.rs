//! The target `tar_bz2`. Forms by the first byte: 0 the file as it stands; 1 a tar, packed here; 2 the same with its
//! checksums mended; 3 in two streams; 4 members that are described (see `inner`); 5 the same with bytes behind them.

use super::builder::archive::bz2;
use super::feed::Feed;
use super::{held, inner};

const NAME: &str = "flawed-1.0-h1_0.tar.bz2";

pub fn read(bytes: &[u8]) {
    held::package(NAME, &file(bytes));
}

/// The package that an input stands for.
fn file(bytes: &[u8]) -> Vec<u8> {
    let mut feed = Feed::new(bytes);
    match feed.byte() % 6 {
        0 => feed.rest().to_vec(),
        1 => bz2(feed.rest(), 1),
        2 => bz2(&inner::mended(feed.rest()), 1),
        3 => {
            let at = feed.short();
            let tar = inner::mended(feed.rest());
            let (first, second) = tar.split_at(at.min(tar.len()));
            [bz2(first, 1), bz2(second, 9)].concat()
        }
        4 => bz2(&inner::members(&mut feed), 2),
        _ => {
            let behind = feed.short_text();
            [bz2(&inner::members(&mut feed), 2), behind.to_vec()].concat()
        }
    }
}
