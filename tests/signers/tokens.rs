//! A token that signs, and all that can stand in its way.

use std::collections::BTreeSet;

use crate::scene::{EPOCH, Run, Scene};
use crate::softhsm::{PIN, Tokens, module};
use crate::{demand_same_as_by_file, scene_of};

const KEY: &str = "pkcs11:token=signing;object=fixture";

/// Indexes by a key in a token, with the right PIN.
fn index_by(tokens: &Tokens<'_>, scene: &Scene, key: &str, flags: &[&str]) -> Run {
    let call = scene.index_call(&[&["--key", key], flags].concat());
    let call = tokens.in_reach(call).env("SOURCE_DATE_EPOCH", EPOCH);
    call.env("SIGINDEX_PIN", PIN).run()
}

/// Signs a file by a key in a token.
fn sign_by(tokens: &Tokens<'_>, scene: &Scene, key: &str, pin: &str) -> Run {
    scene.write("data", "x");
    let call = scene.call(&["sign", "data", "--force", "--key", key]);
    tokens
        .in_reach(call)
        .env("SIGINDEX_PIN", pin)
        .run()
        .never_says(PIN)
}

#[test]
fn a_token_signs_a_channel_for_many_threads() {
    let scene = scene_of(12);
    let Some(tokens) = Tokens::with_key(&scene) else {
        return;
    };
    let flags = ["--threads", "4", "--signatures", "detached"];
    let run = index_by(&tokens, &scene, KEY, &flags).exits(0);
    run.never_says(PIN).counts("signed", 12);
    demand_same_as_by_file(&scene, 12);
    index_by(&tokens, &scene, KEY, &flags)
        .exits(0)
        .counts("kept", 12);
    // With its public half at hand, the token is not needed where nothing is to be signed.
    scene.give_public_key("fixture");
    let flags = [&flags[..], &["--key", KEY, "--key-name", "fixture"]].concat();
    scene.index_at(EPOCH, &flags).exits(0).counts("kept", 12);
    scene.run(&["verify", "channel"]).exits(0);
}

#[test]
fn a_uri_says_which_token_and_which_key() {
    let scene = scene_of(0);
    let Some(tokens) = Tokens::with_key(&scene) else {
        return;
    };
    let sign = |key: &str| sign_by(&tokens, &scene, key, PIN);
    for key in [
        "pkcs11:",
        "pkcs11:id=%a1",
        "pkcs11:manufacturer=SoftHSM%20project;type=private",
    ] {
        sign(key).exits(0);
        assert!(scene.text("data.sig").starts_with("fixture "), "{key}");
    }
    let said = sign("pkcs11:token=nowhere")
        .exits(1)
        .says("no token fits")
        .says("`signing` with serial=")
        .stderr;
    let (_, slot) = said.split_once("in slot-id=").unwrap();
    let slot: u64 = slot.split_once(')').unwrap().0.parse().unwrap();
    sign(&format!("pkcs11:slot-id={slot}")).exits(0);
    sign(&format!("pkcs11:slot-id={}", slot ^ 1))
        .exits(1)
        .says("no token fits");
    let run = sign("pkcs11:object=nobody").exits(1);
    run.says("no private RSA key")
        .says("object=fixture with id=%a1");
    tokens.import("signing", "other", "a label that is no name", "b2");
    let run = sign("pkcs11:token=signing").exits(1);
    run.says("several keys").says("id=%a1").says("id=%b2");
    sign(KEY).exits(0);
    sign("pkcs11:id=%b2").exits(1).says("--key-name NAME");
    let words = [
        "sign",
        "data",
        "--key",
        "pkcs11:id=%b2",
        "--key-name",
        "b2",
        "--force",
    ];
    scene.remove("data.sig");
    let call = tokens.in_reach(scene.call(&words)).env("SIGINDEX_PIN", PIN);
    call.run().exits(0);
    assert!(scene.text("data.sig").starts_with("b2 "));
    // Of two tokens of one name, the serial number tells.
    tokens.init("signing");
    let said = sign(KEY).exits(1).says("several tokens fit").stderr;
    let serials: BTreeSet<&str> = said
        .split("serial=")
        .skip(1)
        .map(|it| it.split(' ').next().unwrap())
        .collect();
    let serials: Vec<&str> = serials.into_iter().filter(|it| *it != "…`").collect();
    let signed = serials.iter().filter(|serial| {
        let run = sign(&format!("{KEY};serial={serial}"));
        run.status() == Some(0)
    });
    assert_eq!(signed.count(), 1, "{said}");
}

#[test]
fn a_pin_comes_from_the_environment_or_a_file_of_ones_own_and_is_tried_once() {
    let scene = scene_of(3);
    let Some(tokens) = Tokens::with_key(&scene) else {
        return;
    };
    let run = sign_by(&tokens, &scene, KEY, "wrong-pin");
    run.exits(1)
        .says("does not take the PIN")
        .says("tried once")
        .never_says("wrong-pin");
    sign_by(&tokens, &scene, KEY, "")
        .exits(1)
        .says("wants a PIN")
        .says("$SIGINDEX_PIN");
    // Many threads and packages make no more tries of it.
    let call = scene.index_call(&["--key", KEY, "--threads", "4"]);
    let call = tokens.in_reach(call).env("SIGINDEX_PIN", "wrong-pin");
    call.run().exits(1).says("does not take the PIN");
    let file = scene.path("pin");
    let by_file = format!("{KEY}?pin-source={}", file.display());
    let sign = || sign_by(&tokens, &scene, &by_file, "wrong-pin");
    sign().exits(1).says("cannot use the PIN file");
    scene.write("pin", format!("{PIN}\n"));
    scene.set_mode("pin", 0o644);
    sign().exits(1).says("everybody may read");
    scene.set_mode("pin", 0o600);
    sign().exits(0);
    let open = format!("{KEY}?pin-value={PIN}");
    let run = sign_by(&tokens, &scene, &open, "").exits(2);
    run.says("would show the PIN").never_says(PIN);
}

#[test]
fn a_module_has_to_be_there_and_to_be_one() {
    let Some(module) = module() else { return };
    let scene = scene_of(0);
    let Some(tokens) = Tokens::with_key(&scene) else {
        return;
    };
    scene.write("data", "x");
    let sign = |key: &str| scene.call(&["sign", "data", "--key", key]);
    sign(KEY).run().exits(1).says("$SIGINDEX_PKCS11_MODULE");
    sign("pkcs11:token=a?module-path=/no/such.so")
        .run()
        .exits(1)
        .says("/no/such.so: can't be loaded");
    scene.write("text.so", "no library");
    let key = format!("pkcs11:?module-path={}", scene.path("text.so").display());
    sign(&key)
        .run()
        .exits(1)
        .says("can't be loaded as a PKCS #11 module");
    // The URI wins over the environment.
    let key = format!("{KEY}?module-path={}", module.display());
    let call = tokens.in_reach(sign(&key)).env("SIGINDEX_PIN", PIN);
    call.env("SIGINDEX_PKCS11_MODULE", "/no/such.so")
        .run()
        .exits(0);
}

#[cfg(feature = "tuf")]
#[test]
fn the_key_of_packages_and_that_of_the_index_may_be_in_one_token() {
    let scene = scene_of(2);
    let Some(tokens) = Tokens::with_key(&scene) else {
        return;
    };
    tokens.import("signing", "other", "other", "b2");
    scene.give_public_key("fixture");
    scene.give_key("other");
    scene.run(&["keygen", "root"]).exits(0);
    let init = ["trust", "init", "channel", "--root-key", "root"];
    scene
        .run(&[&init[..], &["--index-key", "other"]].concat())
        .exits(0);
    std::fs::remove_file(scene.key_path("other")).unwrap();
    let call = tokens.in_reach(scene.call(&["channel", "--key", KEY]));
    let call = call.env("SIGINDEX_PIN", PIN);
    call.env("SIGINDEX_INDEX_KEY", "pkcs11:object=other")
        .run()
        .exits(0)
        .never_says(PIN);
    scene.run(&["verify", "channel"]).exits(0);
}

#[test]
fn a_key_has_to_be_fit_for_signing() {
    let Some(module) = module() else { return };
    let scene = scene_of(0);
    let Some(tokens) = Tokens::with_key(&scene) else {
        return;
    };
    let made = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tokens::keys_of_all_kinds", "--ignored"])
        .env("SOFTHSM2_CONF", scene.path("softhsm2.conf"))
        .env("SIGINDEX_PKCS11_MODULE", module)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stdout)
    );
    let run = sign_by(&tokens, &scene, "pkcs11:object=decrypts", PIN).exits(1);
    run.says("object=decrypts").says("CKA_SIGN is false");
    let run = sign_by(&tokens, &scene, "pkcs11:object=asks", PIN).exits(1);
    run.says("object=asks").says("CKA_ALWAYS_AUTHENTICATE");
    let weak = index_by(&tokens, &scene_of(1), KEY, &["--min-bits", "4096"]);
    weak.exits(1).says("below 4096 bits do not count");
    assert!(!scene.exists("data.sig"));
    // What lies beside a key is not asked for what the key shows itself.
    sign_by(&tokens, &scene, "pkcs11:object=stranger", PIN).exits(0);
}

/// Makes them, in a process of its own: SoftHSM2 finds its tokens by the environment.
#[test]
#[ignore = "part of another test"]
fn keys_of_all_kinds() {
    use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
    use cryptoki::mechanism::Mechanism;
    use cryptoki::object::Attribute;
    use cryptoki::session::UserType;

    let Some(module) = std::env::var_os("SIGINDEX_PKCS11_MODULE") else {
        return;
    };
    let context = Pkcs11::new(module).unwrap();
    let flags = CInitializeFlags::OS_LOCKING_OK;
    context.initialize(CInitializeArgs::new(flags)).unwrap();
    let slot = context.get_slots_with_initialized_token().unwrap()[0];
    let session = context.open_rw_session(slot).unwrap();
    session
        .login(UserType::User, Some(&PIN.to_owned().into()))
        .unwrap();
    let make = |label: &str, id: u8, public_id: u8, more: &[Attribute]| {
        let public = [
            Attribute::Token(true),
            Attribute::ModulusBits(2048.into()),
            Attribute::Id(vec![public_id]),
        ];
        let private = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Label(label.as_bytes().to_vec()),
            Attribute::Id(vec![id]),
        ];
        let private = [&private[..], more].concat();
        session
            .generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &private)
            .unwrap();
    };
    let decrypts = [Attribute::Sign(false), Attribute::Decrypt(true)];
    make("decrypts", 0xd0, 0xd0, &decrypts);
    make("asks", 0xd1, 0xd1, &[Attribute::AlwaysAuthenticate(true)]);
    // The public half of another key has its id.
    make("stranger", 0xd2, 0xd3, &[]);
    make("other", 0xd3, 0xd2, &[]);
}
