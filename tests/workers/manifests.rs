//! The manifests in `docs/workers`: scripts run as they stand, as far as this machine has what runs them; the others are
//! of their form.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use saphyr_parser::{Event, Parser};

use crate::scene::Scene;
use crate::scene_of_many;

fn manifest(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/workers");
    folder.join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(manifest(name)).unwrap()
}

/// Runs a script as it stands, in the scene's folder; `None` where this machine has no such shell.
fn script(scene: &Scene, words: &[&str], variables: &[(&str, &str)]) -> Option<Output> {
    let (name, words) = words.split_first().unwrap();
    let path = manifest(name);
    let first = text(name).lines().next().unwrap().to_owned();
    let shell = first.strip_prefix("#!").unwrap();
    if !Path::new(shell).exists() {
        eprintln!("skipped: this machine has no {shell}");
        return None;
    }
    let program = Path::new(env!("CARGO_BIN_EXE_sigindex")).parent().unwrap();
    let output = Command::new(shell)
        .arg(path)
        .args(words)
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", program.display()))
        .env("HOME", scene.path("home"))
        .env("XDG_CACHE_HOME", scene.path("cache"))
        .envs(variables.iter().copied())
        .current_dir(scene.path(""))
        .output();
    Some(output.unwrap())
}

#[test]
fn the_shell_script_runs_as_it_stands() {
    let (scene, paths) = scene_of_many();
    let run = || script(&scene, &["shell.sh", "channel", "3"], &[]);
    let Some(output) = run() else { return };
    assert!(output.status.success(), "{output:?}");
    scene.run(&["verify", "channel"]).exits(0);
    assert!(paths.iter().all(|path| scene.is_listed(path)));
    // What is refused keeps nothing else from being published, and is told by the exit status.
    scene.write("channel/noarch/bad-1.0-0.conda", "no archive");
    let output = run().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    // What failed does.
    scene.write("channel/noarch/repodata.json", "{");
    let output = run().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn the_tasks_of_a_slurm_array_run_as_they_stand() {
    let (scene, paths) = scene_of_many();
    scene.write("channel/noarch/bad-1.0-0.conda", "no archive");
    for id in ["1", "2", "3"] {
        let variables = [
            ("SLURM_ARRAY_TASK_ID", id),
            ("SLURM_ARRAY_TASK_COUNT", "3"),
            ("SLURM_ARRAY_TASK_MIN", "1"),
            ("SLURM_ARRAY_TASK_MAX", "3"),
            ("SLURM_ARRAY_TASK_STEP", "1"),
        ];
        let output = script(&scene, &["slurm-scan.sh", "channel"], &variables);
        let Some(output) = output else { return };
        assert!(output.status.success(), "{output:?}");
    }
    let output = script(&scene, &["slurm-publish.sh", "channel"], &[]).unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(paths.iter().all(|path| scene.is_listed(path)));
}

#[test]
fn slurm_is_told_to_publish_after_the_array() {
    let scene = Scene::new();
    // In Slurm's place: writes down what it is asked, and answers as `--parsable` does.
    let path = scene.path("bin/sbatch");
    scene.write(
        "bin/sbatch",
        "#!/bin/sh\necho \"$*\" >> asked\necho '42;cluster'\n",
    );
    scene.set_mode("bin/sbatch", 0o755);
    let output = Command::new("/bin/sh")
        .arg(manifest("slurm.sh"))
        .args(["channel", "8"])
        .env_clear()
        .env(
            "PATH",
            format!("{}:/usr/bin:/bin", path.parent().unwrap().display()),
        )
        .current_dir(scene.path(""))
        .output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    let asked = scene.text("asked");
    let asked: Vec<&str> = asked.lines().collect();
    assert!(asked[0].starts_with("--parsable --array=1-8 "), "{asked:?}");
    assert!(asked[0].ends_with("slurm-scan.sh channel"), "{asked:?}");
    assert!(
        asked[1].starts_with("--dependency=afterok:42 "),
        "{asked:?}"
    );
    assert!(asked[1].ends_with("slurm-publish.sh channel"), "{asked:?}");
}

#[test]
fn the_others_are_of_their_form() {
    let json = |name: &str| -> serde_json::Value { serde_json::from_str(&text(name)).unwrap() };
    let scan = json("aws-batch-scan.json");
    assert!(scan["arrayProperties"]["size"].as_u64() > Some(1));
    assert!(json("aws-batch-publish.json")["dependsOn"].is_array());
    let yaml = text("kubernetes.yaml");
    let events = Parser::new_from_str(&yaml).map(|event| event.unwrap().0);
    let documents = events.filter(|event| matches!(event, Event::DocumentStart(_)));
    assert_eq!(documents.count(), 2);
    assert!(yaml.contains("completionMode: Indexed"));
}
