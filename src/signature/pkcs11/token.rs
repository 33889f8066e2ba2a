//! Finding the one token and the one key that a URI names, and logging in, once. It must not know what is signed.

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as Cryptoki, RvError};
use cryptoki::mechanism::MechanismType;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;

use super::fault::said;
use super::{Pkcs11Error, Pkcs11Plan, Uri};

/// The most tokens or keys that a message lists.
const LISTED: usize = 8;

/// A token that was found.
pub(super) struct Token {
    pub(super) context: Pkcs11,
    pub(super) slot: Slot,
    pub(super) label: String,
}

/// A private key in it.
pub(super) struct Key {
    pub(super) handle: ObjectHandle,
    pub(super) label: String,
    pub(super) id: Vec<u8>,
    pub(super) modulus: Vec<u8>,
    pub(super) exponent: Vec<u8>,
    may_sign: bool,
    asks_each_time: bool,
}

/// Loads the library and finds the token.
pub(super) fn find_token(plan: &Pkcs11Plan) -> Result<(Token, TokenInfo), Pkcs11Error> {
    let context = load(plan)?;
    let failed = Pkcs11Error::of("be listed");
    let mut there = Vec::new();
    for slot in context
        .get_slots_with_initialized_token()
        .map_err(&failed)?
    {
        // A token that was pulled out meanwhile is not there.
        let Ok(info) = context.get_token_info(slot) else {
            continue;
        };
        there.push((slot, info));
    }
    let all = listed(there.iter().map(described));
    there.retain(|(slot, info)| fits(&plan.uri, *slot, info));
    let fitting = listed(there.iter().map(described));
    let only = there.pop().filter(|_| there.is_empty());
    match only {
        Some((slot, info)) => {
            let label = shown(info.label());
            let token = Token {
                context,
                slot,
                label,
            };
            Ok((token, info))
        }
        None if fitting.is_empty() => Err(Pkcs11Error::NoToken {
            there: if all.is_empty() {
                "there is none".to_owned()
            } else {
                format!("there are {all}")
            },
        }),
        None => Err(Pkcs11Error::SeveralTokens { there: fitting }),
    }
}

fn load(plan: &Pkcs11Plan) -> Result<Pkcs11, Pkcs11Error> {
    let path = plan.uri.module_path.as_ref().or(plan.module.as_ref());
    let path = path.ok_or(Pkcs11Error::NoModule)?;
    let failed = |cause: Cryptoki| Pkcs11Error::Module {
        path: path.clone(),
        cause: said(&cause),
    };
    let context = Pkcs11::new(path).map_err(failed)?;
    // Libraries leave handlers behind for the end of threads and of the process: none may be unloaded before. So it
    // is not finalized either; its sessions are closed, which logs out.
    std::mem::forget(context.clone());
    match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        // The other key of this run is in it too.
        Ok(()) | Err(Cryptoki::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(context),
        Err(cause) => Err(failed(cause)),
    }
}

fn fits(uri: &Uri, slot: Slot, info: &TokenInfo) -> bool {
    let same = |wanted: &Option<String>, found: &str| {
        wanted
            .as_ref()
            .is_none_or(|wanted| wanted.trim_end() == found.trim_end())
    };
    same(&uri.token, info.label())
        && same(&uri.manufacturer, info.manufacturer_id())
        && same(&uri.model, info.model())
        && same(&uri.serial, info.serial_number())
        && uri.slot_id.is_none_or(|wanted| wanted == slot.id())
}

fn described((slot, info): &(Slot, TokenInfo)) -> String {
    let (label, serial) = (shown(info.label()), shown(info.serial_number()));
    format!("`{label}` with serial={serial} in slot-id={}", slot.id())
}

impl Token {
    /// Demands that it signs in the one way.
    pub(super) fn demand_mechanism(&self) -> Result<(), Pkcs11Error> {
        let wanted = MechanismType::RSA_PKCS_PSS;
        let info = self.context.get_mechanism_info(self.slot, wanted);
        match info.is_ok_and(|info| info.sign()) {
            true => Ok(()),
            false => Err(Pkcs11Error::Mechanism {
                token: self.label.clone(),
            }),
        }
    }

    /// The first session with it.
    pub(super) fn open_session(&self) -> Result<Session, Pkcs11Error> {
        let opened = self.context.open_ro_session(self.slot);
        opened.map_err(|cause| match &cause {
            Cryptoki::Pkcs11(RvError::SessionCount, _) => {
                let token = self.label.clone();
                Pkcs11Error::Sessions { token }
            }
            _ => Pkcs11Error::of("open a session")(cause),
        })
    }

    /// Logs in with the PIN, unless the token wants none. It is never tried twice, nor where it would be the last try.
    pub(super) fn log_in(
        &self,
        session: &Session,
        info: &TokenInfo,
        pin: Option<&str>,
    ) -> Result<(), Pkcs11Error> {
        let token = self.label.clone();
        let has_pad = info.protected_authentication_path();
        match pin {
            None if !info.login_required() => return Ok(()),
            None if !has_pad => return Err(Pkcs11Error::NoPin { token }),
            _ if info.user_pin_locked() => return Err(Pkcs11Error::Locked { token }),
            _ if info.user_pin_final_try() => return Err(Pkcs11Error::LastTry { token }),
            _ => {}
        }
        let pin = pin.map(|pin| AuthPin::from(pin.to_owned()));
        let Err(cause) = session.login(UserType::User, pin.as_ref()) else {
            return Ok(());
        };
        Err(match &cause {
            // By the other key of this run.
            Cryptoki::Pkcs11(RvError::UserAlreadyLoggedIn, _) => return Ok(()),
            Cryptoki::Pkcs11(
                RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange,
                _,
            ) => Pkcs11Error::WrongPin { token },
            Cryptoki::Pkcs11(RvError::PinLocked, _) => Pkcs11Error::Locked { token },
            _ => Pkcs11Error::of("be logged in to")(cause),
        })
    }

    /// The one private key that the URI names.
    pub(super) fn find_key(&self, session: &Session, uri: &Uri) -> Result<Key, Pkcs11Error> {
        let token = || self.label.clone();
        let mut all = self.keys(session)?;
        let there = listed(all.iter().map(Key::described));
        let same = |key: &Key| {
            uri.object.as_ref().is_none_or(|label| *label == key.label)
                && uri.id.as_ref().is_none_or(|id| *id == key.id)
        };
        all.retain(same);
        let fitting = listed(all.iter().map(Key::described));
        match all.pop().filter(|_| all.is_empty()) {
            Some(key) => self.demand_fit(&key).map(|()| key),
            None if fitting.is_empty() => Err(Pkcs11Error::NoKey {
                token: token(),
                there: if there.is_empty() {
                    "there is none".to_owned()
                } else {
                    format!("there are {there}")
                },
            }),
            None => Err(Pkcs11Error::SeveralKeys {
                token: token(),
                there: fitting,
            }),
        }
    }

    fn keys(&self, session: &Session) -> Result<Vec<Key>, Pkcs11Error> {
        let template = [
            Attribute::Class(ObjectClass::PRIVATE_KEY),
            Attribute::KeyType(KeyType::RSA),
            Attribute::Token(true),
        ];
        let found = session.find_objects(&template);
        let found = found.map_err(Pkcs11Error::of("be searched for keys"))?;
        found
            .into_iter()
            .map(|handle| read(session, handle))
            .collect()
    }

    fn demand_fit(&self, key: &Key) -> Result<(), Pkcs11Error> {
        let why = match key {
            Key {
                may_sign: false, ..
            } => "may not sign (CKA_SIGN is false); make a key for signing",
            Key {
                asks_each_time: true,
                ..
            } => {
                "wants the PIN anew for each signature (CKA_ALWAYS_AUTHENTICATE), which no run over many packages can do; make one that does not"
            }
            Key {
                modulus, exponent, ..
            } if modulus.is_empty() || exponent.is_empty() => {
                "does not show its modulus and exponent, and no public key of the same `id` lies beside it; put its public key into the token"
            }
            _ => return Ok(()),
        };
        Err(Pkcs11Error::Unfit {
            token: self.label.clone(),
            key: key.described(),
            why: why.to_owned(),
        })
    }
}

impl Key {
    pub(super) fn described(&self) -> String {
        let id: String = self.id.iter().map(|byte| format!("%{byte:02x}")).collect();
        format!("object={} with id={id}", shown(&self.label))
    }
}

fn read(session: &Session, handle: ObjectHandle) -> Result<Key, Pkcs11Error> {
    let wanted = [
        AttributeType::Label,
        AttributeType::Id,
        AttributeType::Sign,
        AttributeType::AlwaysAuthenticate,
    ];
    let mut key = Key {
        handle,
        label: String::new(),
        id: Vec::new(),
        modulus: Vec::new(),
        exponent: Vec::new(),
        // What a token does not tell of is tried out by the first signature.
        may_sign: true,
        asks_each_time: false,
    };
    for attribute in attributes(session, handle, &wanted)? {
        match attribute {
            Attribute::Label(label) => key.label = String::from_utf8_lossy(&label).into_owned(),
            Attribute::Id(id) => key.id = id,
            Attribute::Sign(sign) => key.may_sign = sign,
            Attribute::AlwaysAuthenticate(always) => key.asks_each_time = always,
            _ => {}
        }
    }
    (key.modulus, key.exponent) = numbers(session, handle)?;
    if key.exponent.is_empty() && !key.id.is_empty() {
        let template = [
            Attribute::Class(ObjectClass::PUBLIC_KEY),
            Attribute::KeyType(KeyType::RSA),
            Attribute::Id(key.id.clone()),
        ];
        let beside = session.find_objects(&template);
        let beside = beside.map_err(Pkcs11Error::of("be searched for public keys"))?;
        if let [only] = beside.as_slice() {
            (key.modulus, key.exponent) = numbers(session, *only)?;
        }
    }
    Ok(key)
}

/// Modulus and exponent, big-endian; empty where they are not shown.
fn numbers(session: &Session, handle: ObjectHandle) -> Result<(Vec<u8>, Vec<u8>), Pkcs11Error> {
    let wanted = [AttributeType::Modulus, AttributeType::PublicExponent];
    let (mut modulus, mut exponent) = (Vec::new(), Vec::new());
    for attribute in attributes(session, handle, &wanted)? {
        match attribute {
            Attribute::Modulus(number) => modulus = number,
            Attribute::PublicExponent(number) => exponent = number,
            _ => {}
        }
    }
    Ok((modulus, exponent))
}

/// Attributes as far as the object has and shows them.
fn attributes(
    session: &Session,
    handle: ObjectHandle,
    wanted: &[AttributeType],
) -> Result<Vec<Attribute>, Pkcs11Error> {
    let read = session.get_attributes(handle, wanted);
    read.map_err(Pkcs11Error::of("show a key's attributes"))
}

/// A text of the token's, fit for a message.
fn shown(text: &str) -> String {
    text.trim_end()
        .chars()
        .take(64)
        .flat_map(char::escape_debug)
        .collect()
}

fn listed(all: impl ExactSizeIterator<Item = String>) -> String {
    let more = all.len().saturating_sub(LISTED);
    let mut list: Vec<String> = all.take(LISTED).collect();
    if more > 0 {
        list.push(format!("{more} more"));
    }
    list.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_ends_after_eight_and_says_how_many_more() {
        let list = |count: usize| listed((0..count).map(|it| it.to_string()));
        assert_eq!(list(0), "");
        assert_eq!(list(2), "0, 1");
        assert!(list(8).ends_with("6, 7"));
        assert!(list(10).ends_with("6, 7, 2 more"));
    }
}
