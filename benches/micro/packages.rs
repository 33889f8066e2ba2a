//! Packages as the generator makes them, for whoever measures what is done with them. Owns nothing else.

use crate::builder::Format;
use crate::channel::{self, Plan};

/// A plan of so many packages of one format and size in bytes, in `out`.
pub fn plan(out: &std::path::Path, packages: usize, size: usize, format: Format) -> Plan {
    Plan {
        out: out.to_owned(),
        packages,
        size,
        conda_share: if format == Format::Conda { 1.0 } else { 0.0 },
        subdirs: vec!["linux-64".to_owned()],
        seed: 1,
        per_name: 5,
    }
}

/// Makes one package, and gives its path below `out`.
pub fn one(out: &std::path::Path, size: usize, format: Format) -> String {
    let plan = plan(out, 1, size, format);
    channel::make(&plan).expect("a package");
    plan.identity(0).path(format)
}
