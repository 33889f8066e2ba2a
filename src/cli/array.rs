//! What the environment says of a task in an array of jobs: Kubernetes' Indexed Jobs, Slurm's arrays, AWS Batch's. Owns
//! their variables and what they mean; what is wrong with them is wrong usage, never a share that somebody else has too,
//! or nobody.

use crate::error::Error;
use crate::index::Part;

/// Counted from 0, from what is called `completions`, which it is not told.
const KUBERNETES: &str = "JOB_COMPLETION_INDEX";
/// Counted from [`SLURM_MIN`] in steps of [`SLURM_STEP`].
const SLURM: &str = "SLURM_ARRAY_TASK_ID";
const SLURM_COUNT: &str = "SLURM_ARRAY_TASK_COUNT";
const SLURM_MIN: &str = "SLURM_ARRAY_TASK_MIN";
const SLURM_MAX: &str = "SLURM_ARRAY_TASK_MAX";
const SLURM_STEP: &str = "SLURM_ARRAY_TASK_STEP";
/// Counted from 0.
const AWS_BATCH: &str = "AWS_BATCH_JOB_ARRAY_INDEX";
const AWS_BATCH_SIZE: &str = "AWS_BATCH_JOB_ARRAY_SIZE";
/// How many tasks there are, for arrays that don't say it.
const PARTS: &str = "SIGINDEX_PARTS";

/// A task of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Array {
    /// The variable that tells the task's number.
    name: &'static str,
    /// Which task this is, counted from 0.
    index: u32,
    /// How many there are, and what says so.
    of: Option<(&'static str, u32)>,
}

impl Array {
    /// The task that this process is; `None` where it is none.
    ///
    /// # Errors
    /// When the variables contradict each other or are no numbers.
    pub fn found(
        variable: impl Fn(&str) -> Result<Option<String>, Error>,
    ) -> Result<Option<Array>, Error> {
        let read = |name: &'static str| number(name, variable(name)?);
        let kubernetes = read(KUBERNETES)?.map(|index| Array {
            name: KUBERNETES,
            index,
            of: None,
        });
        let aws_batch = match read(AWS_BATCH)? {
            None => None,
            Some(index) => Some(Array {
                name: AWS_BATCH,
                index,
                of: read(AWS_BATCH_SIZE)?.map(|of| (AWS_BATCH_SIZE, of)),
            }),
        };
        let found = [kubernetes, slurm(read)?, aws_batch];
        let mut found = found.into_iter().flatten();
        let (Some(array), another) = (found.next(), found.next()) else {
            return Ok(None);
        };
        if let Some(another) = another {
            return Err(Error::Usage(format!(
                "${} and ${} are both set, and each says which part of the work is this worker's; give --part I/N",
                array.name, another.name
            )));
        }
        let said = read(PARTS)?.map(|of| (PARTS, of));
        let of = agreed(said, array.of)?;
        Ok(Some(Array { of, ..array }))
    }

    /// The part of the work that is this task's, where `parts` are asked for.
    ///
    /// # Errors
    /// When nothing says how many there are, or not all say the same, or the task is none of so many.
    pub fn part(self, parts: Option<u32>) -> Result<Part, Error> {
        let of = agreed(parts.map(|of| ("--parts", of)), self.of)?;
        let Some((by, of)) = of else {
            return Err(Error::Usage(format!(
                "${} says that this is worker {} of several, counted from 0, and nothing says how many there are: give --parts N or $SIGINDEX_PARTS (for Kubernetes the job's `completions`), or --part I/N",
                self.name, self.index
            )));
        };
        Part::new(self.index.saturating_add(1), of).ok_or_else(|| {
            Error::Usage(format!(
                "${} says that this is worker {}, counted from 0, and {by} that there are {of}; let them agree, or give --part I/N",
                self.name, self.index
            ))
        })
    }
}

/// How many there are, by two that may say it.
fn agreed(
    one: Option<(&'static str, u32)>,
    other: Option<(&'static str, u32)>,
) -> Result<Option<(&'static str, u32)>, Error> {
    match (one, other) {
        (Some((by, of)), Some((also_by, also_of))) if of != also_of => Err(Error::Usage(format!(
            "{by} says that there are {of} parts, and {also_by} says {also_of}; let them agree, or give --part I/N"
        ))),
        (one, other) => Ok(one.or(other)),
    }
}

/// Slurm's arrays begin where they like, and go on in steps.
fn slurm(
    read: impl Fn(&'static str) -> Result<Option<u32>, Error>,
) -> Result<Option<Array>, Error> {
    let Some(id) = read(SLURM)? else {
        return Ok(None);
    };
    let fault = || {
        Error::Usage(format!(
            "${SLURM}={id}: by ${SLURM_COUNT}, ${SLURM_MIN}, ${SLURM_MAX} and ${SLURM_STEP} the array is no range of even steps, as in --array=1-8, and so it can't be told which part of the work is this task's; give --part I/N"
        ))
    };
    let [count, min, max] = [read(SLURM_COUNT)?, read(SLURM_MIN)?, read(SLURM_MAX)?];
    let (Some(count), Some(min), Some(max)) = (count, min, max) else {
        return Err(fault());
    };
    let step = read(SLURM_STEP)?.unwrap_or(1).max(1);
    let index_of = |id: u32| {
        let above = id.checked_sub(min)?;
        (above.checked_rem(step)? == 0).then_some(above.checked_div(step)?)
    };
    let is_whole = index_of(max).is_some_and(|last| last.checked_add(1) == Some(count));
    let index = index_of(id).filter(|_| is_whole).ok_or_else(fault)?;
    Ok(Some(Array {
        name: SLURM,
        index,
        of: Some((SLURM_COUNT, count)),
    }))
}

fn number(name: &str, text: Option<String>) -> Result<Option<u32>, Error> {
    let Some(text) = text else { return Ok(None) };
    let number = text.parse().map_err(|_| {
        Error::Usage(format!(
            "${name}={}: not a number; correct it, or give --part I/N",
            text.escape_debug()
        ))
    });
    number.map(Some)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The part by these variables, as in `2/4`, or what is wrong.
    fn part_by(variables: &[(&str, &str)], parts: Option<u32>) -> Result<Option<String>, String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            Ok(found.map(|(_, value)| (*value).to_owned()))
        };
        let array = Array::found(variable).map_err(|error| error.to_string())?;
        let part = array.map(|array| array.part(parts)).transpose();
        part.map(|part| part.map(|part| part.to_string()))
            .map_err(|error| error.to_string())
    }

    fn slurm_by(id: &str, [count, min, max, step]: [&str; 4]) -> Result<Option<String>, String> {
        let variables = [
            (SLURM, id),
            (SLURM_COUNT, count),
            (SLURM_MIN, min),
            (SLURM_MAX, max),
            (SLURM_STEP, step),
        ];
        part_by(&variables, None)
    }

    #[test]
    fn each_array_tells_the_part_in_its_own_way() {
        let is = |part: &str| Ok(Some(part.to_owned()));
        assert_eq!(part_by(&[], None), Ok(None));
        assert_eq!(part_by(&[(PARTS, "4")], None), Ok(None));
        assert_eq!(part_by(&[(KUBERNETES, "0"), (PARTS, "4")], None), is("1/4"));
        assert_eq!(part_by(&[(KUBERNETES, "3")], Some(4)), is("4/4"));
        let aws = [(AWS_BATCH, "1"), (AWS_BATCH_SIZE, "2")];
        assert_eq!(part_by(&aws, None), is("2/2"));
        assert_eq!(part_by(&aws, Some(2)), is("2/2"));
        assert_eq!(slurm_by("1", ["4", "1", "4", "1"]), is("1/4"));
        assert_eq!(slurm_by("3", ["4", "0", "3", "1"]), is("4/4"));
        assert_eq!(slurm_by("7", ["4", "1", "7", "2"]), is("4/4"));
        assert_eq!(slurm_by("5", ["1", "5", "5", "1"]), is("1/1"));
    }

    #[test]
    fn what_does_not_agree_is_no_part_at_all() {
        let says = |found: Result<Option<String>, String>, what: &str| {
            let why = found.unwrap_err();
            assert!(why.contains(what), "{why}");
        };
        says(part_by(&[(KUBERNETES, "1")], None), "how many there are");
        says(part_by(&[(KUBERNETES, "4")], Some(4)), "that there are 4");
        says(part_by(&[(KUBERNETES, "x")], None), "not a number");
        says(part_by(&[(KUBERNETES, "-1")], Some(4)), "not a number");
        says(
            part_by(&[(KUBERNETES, "1"), (PARTS, "3")], Some(4)),
            "says 3",
        );
        says(
            part_by(&[(AWS_BATCH, "1"), (AWS_BATCH_SIZE, "2")], Some(3)),
            "says 2",
        );
        says(part_by(&[(AWS_BATCH, "1")], None), "how many there are");
        says(
            part_by(&[(AWS_BATCH, "1"), (KUBERNETES, "1")], None),
            "both set",
        );
        // --array=1,3,4
        says(
            slurm_by("3", ["3", "1", "4", "1"]),
            "no range of even steps",
        );
        says(
            slurm_by("2", ["4", "1", "7", "2"]),
            "no range of even steps",
        );
        says(part_by(&[(SLURM, "1")], None), "no range of even steps");
        says(
            part_by(&[(KUBERNETES, "0"), (PARTS, "0")], None),
            "that there are 0",
        );
    }
}
