//! What is compared, and the bars that it is held against: data, all in one place. Owns both; it must not know how
//! anything is measured or printed.

use crate::floor::{Digests, Work as FloorWork};

/// A channel, who works on it, and what is measured there.
#[derive(Clone, Debug)]
pub struct Setting {
    /// As `--rows` names it; a name before a dash selects all that begin so.
    pub key: &'static str,
    pub channel: Channel,
    pub who: &'static [Who],
    pub tasks: &'static [Task],
}

/// What lies in the channel.
#[derive(Clone, Copy, Debug)]
pub struct Channel {
    pub packages: usize,
    /// The size of a package on disk in bytes, on average.
    pub size: usize,
    /// The share of `.conda` files, from 0 to 1.
    pub conda_share: f64,
    pub content: Content,
}

/// What the packages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    Packages,
    /// Empty files and a cache that knows them: nobody can index these from nothing, nor can a peer.
    Records,
}

/// A kind of runs, and what it has to show.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    pub work: Work,
    pub bars: &'static [Bar],
}

/// A kind of runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Nothing is known of the channel.
    Cold,
    /// Nothing changed since the last run.
    NoOp,
    /// One package was added since the last run.
    PlusOne,
    /// Each file is signed, as a file like any other.
    Sign,
}

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Who {
    Ours(Ours),
    /// All other indexers that there are.
    Peers,
    Floor(Floor),
}

/// Our own program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ours {
    /// `sigindex index`, with a key of 2048 bits.
    Signing,
    /// `--no-sign`
    Plain,
    /// Signing, with a signed index.
    SignedIndex,
    /// `sigindex sign`
    SignFiles,
}

/// Programs that do the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floor {
    /// Reads all and computes both digests.
    Hash,
    /// And decodes the first block of each `.tar.bz2`.
    HashBlock,
    /// And signs each digest.
    HashBlockSign,
    /// Reads all and computes SHA-256.
    Sha256,
    /// Reads all and computes MD5.
    Md5,
    /// Signs as many digests, and reads nothing.
    Signatures,
}

/// What has to hold.
#[derive(Clone, Copy, Debug)]
pub enum Bar {
    /// Ours is so many times faster than a peer of this name.
    Faster {
        ours: Ours,
        than: &'static str,
        times: f64,
    },
    /// Ours takes at most so many times as long as the slowest of these.
    Within {
        ours: Ours,
        floors: &'static [Floor],
        times: f64,
    },
    /// At most so many seconds.
    Seconds { ours: Ours, most: f64 },
    /// At most so many million bytes, at the peak.
    Megabytes { ours: Ours, most: f64 },
    /// For each package at most so many times what the same work takes in another setting.
    Flat {
        ours: Ours,
        than: &'static str,
        times: f64,
    },
}

const RATTLER: &str = "rattler-index";
const CONDA: &str = "conda-index";
/// The indexers that are looked for in `$PATH`, each with its command line.
pub const PEERS: [(&str, &str); 2] = [
    (RATTLER, "rattler-index fs {channel}"),
    (CONDA, "conda-index --zst {channel}"),
];

const SIGNING: Who = Who::Ours(Ours::Signing);
const PLAIN: Who = Who::Ours(Ours::Plain);
const MEMORY: [Bar; 2] = memory(250.0);
const FLAT: [Bar; 2] = [flat(Ours::Signing), flat(Ours::Plain)];

const fn faster(ours: Ours, than: &'static str, times: f64) -> Bar {
    Bar::Faster { ours, than, times }
}

const fn within(floors: &'static [Floor], times: f64) -> Bar {
    let ours = Ours::Signing;
    Bar::Within {
        ours,
        floors,
        times,
    }
}

const fn memory(most: f64) -> [Bar; 2] {
    let ours = Ours::Plain;
    let signing = Ours::Signing;
    [
        Bar::Megabytes {
            ours: signing,
            most,
        },
        Bar::Megabytes { ours, most },
    ]
}

const fn flat(ours: Ours) -> Bar {
    let (than, times) = ("flat-5000", 1.25);
    Bar::Flat { ours, than, times }
}

const fn packages(packages: usize, size: usize, conda_share: f64) -> Channel {
    Channel {
        packages,
        size,
        conda_share,
        content: Content::Packages,
    }
}

/// Every row of the comparison.
pub const SETTINGS: [Setting; 9] = [
    Setting {
        key: "small",
        channel: packages(4_000, 20_000, 0.5),
        who: &[
            SIGNING,
            PLAIN,
            Who::Peers,
            Who::Floor(Floor::HashBlock),
            Who::Floor(Floor::HashBlockSign),
        ],
        tasks: &[Task {
            work: Work::Cold,
            bars: &[
                faster(Ours::Signing, RATTLER, 4.5),
                faster(Ours::Plain, RATTLER, 10.0),
                faster(Ours::Signing, CONDA, 8.0),
                faster(Ours::Plain, CONDA, 19.0),
                memory(60.0)[0],
                memory(60.0)[1],
            ],
        }],
    },
    Setting {
        key: "large",
        channel: packages(60, 10_000_000, 0.5),
        who: &[
            SIGNING,
            PLAIN,
            Who::Peers,
            Who::Floor(Floor::Hash),
            Who::Floor(Floor::HashBlock),
        ],
        tasks: &[Task {
            work: Work::Cold,
            bars: &[
                faster(Ours::Signing, RATTLER, 8.0),
                faster(Ours::Signing, CONDA, 26.0),
                within(&[Floor::HashBlock], 1.25),
                MEMORY[0],
                MEMORY[1],
            ],
        }],
    },
    Setting {
        key: "all-conda",
        channel: packages(60, 10_000_000, 1.0),
        who: &[
            SIGNING,
            PLAIN,
            Who::Floor(Floor::Hash),
            Who::Floor(Floor::Sha256),
        ],
        tasks: &[Task {
            work: Work::Cold,
            bars: &[within(&[Floor::Hash], 1.2), MEMORY[0], MEMORY[1]],
        }],
    },
    Setting {
        key: "records",
        channel: packages(50_000, 1_500, 0.5),
        who: &[SIGNING, PLAIN, Who::Ours(Ours::SignedIndex), Who::Peers],
        tasks: &[
            Task {
                work: Work::NoOp,
                bars: &[
                    faster(Ours::Signing, RATTLER, 45.0),
                    faster(Ours::Signing, CONDA, 45.0),
                    Bar::Seconds {
                        ours: Ours::Signing,
                        most: 0.8,
                    },
                    MEMORY[0],
                    MEMORY[1],
                ],
            },
            Task {
                work: Work::PlusOne,
                bars: &[
                    faster(Ours::Signing, RATTLER, 15.0),
                    faster(Ours::Signing, CONDA, 15.0),
                    Bar::Seconds {
                        ours: Ours::Signing,
                        most: 2.0,
                    },
                    MEMORY[0],
                    MEMORY[1],
                ],
            },
        ],
    },
    Setting {
        key: "giant",
        channel: packages(1, 1_000_000_000, 1.0),
        who: &[
            SIGNING,
            PLAIN,
            Who::Floor(Floor::Sha256),
            Who::Floor(Floor::Md5),
        ],
        tasks: &[Task {
            work: Work::Cold,
            bars: &[
                within(&[Floor::Sha256, Floor::Md5], 1.25),
                MEMORY[0],
                MEMORY[1],
            ],
        }],
    },
    Setting {
        key: "sign",
        channel: packages(4_000, 1_500, 0.5),
        who: &[Who::Ours(Ours::SignFiles), Who::Floor(Floor::Signatures)],
        tasks: &[Task {
            work: Work::Sign,
            // 0.8 of its signatures a second.
            bars: &[Bar::Within {
                ours: Ours::SignFiles,
                floors: &[Floor::Signatures],
                times: 1.25,
            }],
        }],
    },
    Setting {
        key: "flat-5000",
        channel: packages(5_000, 1_500, 0.5),
        who: &[SIGNING, PLAIN],
        tasks: &[
            Task {
                work: Work::Cold,
                bars: &[],
            },
            Task {
                work: Work::NoOp,
                bars: &[],
            },
        ],
    },
    Setting {
        key: "flat-100000",
        channel: packages(100_000, 1_500, 0.5),
        who: &[SIGNING, PLAIN],
        tasks: &[
            Task {
                work: Work::Cold,
                bars: &FLAT,
            },
            Task {
                work: Work::NoOp,
                bars: &FLAT,
            },
        ],
    },
    Setting {
        key: "million",
        channel: Channel {
            packages: 1_000_000,
            size: 20_000,
            conda_share: 0.5,
            content: Content::Records,
        },
        who: &[SIGNING, PLAIN],
        tasks: &[
            Task {
                work: Work::NoOp,
                bars: &FLAT,
            },
            Task {
                work: Work::PlusOne,
                bars: &[],
            },
        ],
    },
];

/// A channel as the command line asks for it: everybody, all that is told of it, and no bars.
pub fn custom(channel: Channel) -> Setting {
    Setting {
        key: "custom",
        channel,
        who: &[
            SIGNING,
            PLAIN,
            Who::Ours(Ours::SignedIndex),
            Who::Peers,
            Who::Floor(Floor::Hash),
            Who::Floor(Floor::HashBlock),
            Who::Floor(Floor::HashBlockSign),
        ],
        tasks: &[
            Task {
                work: Work::Cold,
                bars: &[],
            },
            Task {
                work: Work::NoOp,
                bars: &[],
            },
            Task {
                work: Work::PlusOne,
                bars: &[],
            },
        ],
    }
}

impl Setting {
    /// The same with a part of the packages, and smaller ones where that leaves hardly any.
    pub fn scaled(&self, scale: f64) -> Setting {
        let mut channel = self.channel;
        let count = channel.packages as f64 * scale;
        if count >= 2.0 {
            channel.packages = count.ceil() as usize;
        } else {
            channel.packages = channel.packages.min(2);
            channel.size = (channel.size as f64 * count / channel.packages as f64).ceil() as usize;
        }
        Setting {
            channel,
            ..self.clone()
        }
    }

    /// Whether `--rows` names it.
    pub fn is_named(&self, name: &str) -> bool {
        name == "all" || name == self.key || self.key.split('-').next() == Some(name)
    }
}

impl Ours {
    /// As tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Ours::Signing => "sigindex",
            Ours::Plain => "sigindex --no-sign",
            Ours::SignedIndex => "sigindex, signed index",
            Ours::SignFiles => "sigindex sign",
        }
    }
}

impl Floor {
    /// As tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Floor::Hash => "floor: both digests",
            Floor::HashBlock => "floor: digests, first bz2 block",
            Floor::HashBlockSign => "floor: digests, first bz2 block, signature",
            Floor::Sha256 => "floor: SHA-256",
            Floor::Md5 => "floor: MD5",
            Floor::Signatures => "floor: signatures",
        }
    }

    /// As this program calls itself with, and finds it again.
    pub fn word(self) -> &'static str {
        match self {
            Floor::Hash => "hash",
            Floor::HashBlock => "hash-block",
            Floor::HashBlockSign => "hash-block-sign",
            Floor::Sha256 => "sha256",
            Floor::Md5 => "md5",
            Floor::Signatures => "signatures",
        }
    }

    /// The floor of this word.
    pub fn of(word: &str) -> Option<Floor> {
        [
            Floor::Hash,
            Floor::HashBlock,
            Floor::HashBlockSign,
            Floor::Sha256,
            Floor::Md5,
            Floor::Signatures,
        ]
        .into_iter()
        .find(|floor| floor.word() == word)
    }

    /// What it does with each file; nothing is read for signatures alone.
    pub fn work(self) -> Option<FloorWork> {
        let both = FloorWork::default();
        let metadata = FloorWork {
            metadata: true,
            ..both
        };
        match self {
            Floor::Hash => Some(both),
            Floor::HashBlock => Some(metadata),
            Floor::HashBlockSign => Some(FloorWork {
                sign: true,
                ..metadata
            }),
            Floor::Sha256 => Some(FloorWork {
                digests: Digests::Sha256,
                ..both
            }),
            Floor::Md5 => Some(FloorWork {
                digests: Digests::Md5,
                ..both
            }),
            Floor::Signatures => None,
        }
    }
}
