//! What a server stores of a password, made here, so that the password stays here.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA512, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use curve25519_dalek::EdwardsPoint;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use crate::crypto::{OsRandom, Random as _};

/// Bytes of a salt of `caching_sha2_password` (MySQL, `CRYPT_SALT_LENGTH`).
const SALT: usize = 20;
/// In how many rounds one step of [`Rounds`] is.
const THOUSAND: usize = 1_000;
/// The order of bytes, and the digits, of the hash in text (Ulrich Drepper, "Unix crypt using SHA-256 and SHA-512").
const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// How many thousand rounds the hash of `caching_sha2_password` has: three hexadecimal digits of what is stored (MySQL's
/// manual, `caching_sha2_password_digest_rounds`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rounds(u16);

impl Rounds {
    /// Those of servers that have no setting for them: the least of what a server takes.
    pub(super) const LEAST: Self = Self(5);
    /// The most that three digits can say, which take seconds.
    const MOST: Self = Self(0xFFF);

    /// Those of a server's setting, which counts them singly.
    pub(super) fn of_setting(setting: &str) -> Option<Self> {
        let rounds: usize = setting.parse().ok()?;
        Self::of_thousands(u16::try_from(rounds / THOUSAND).ok()?)
    }

    fn of_digits(digits: &str) -> Option<Self> {
        let valid = digits.len() == 3 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let thousands = u16::from_str_radix(digits, 16).ok().filter(|_| valid)?;
        Self::of_thousands(thousands)
    }

    fn of_thousands(thousands: u16) -> Option<Self> {
        (Self::LEAST.0..=Self::MOST.0)
            .contains(&thousands)
            .then_some(Self(thousands))
    }
}

/// A way in which accounts show their password, of which the verifier can be made here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plugin {
    /// Both servers.
    Native,
    /// MariaDB.
    Ed25519,
    /// MySQL.
    CachingSha2,
}

impl Plugin {
    /// By its name; nothing for the others.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "mysql_native_password" => Some(Self::Native),
            "ed25519" => Some(Self::Ed25519),
            "caching_sha2_password" => Some(Self::CachingSha2),
            _ => None,
        }
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Native => "mysql_native_password",
            Self::Ed25519 => "ed25519",
            Self::CachingSha2 => "caching_sha2_password",
        }
    }

    /// The verifier of a password, as the server's text of it; of `caching_sha2_password` with that many rounds. Nothing if
    /// the system gives no random bytes.
    pub(super) async fn verifier(
        self,
        password: &[u8],
        rounds: Rounds,
    ) -> Option<Zeroizing<String>> {
        let make = move |password: &[u8]| {
            Some(Zeroizing::new(match self {
                Self::Native => native(password),
                Self::Ed25519 => ed25519(password),
                Self::CachingSha2 => caching_sha2(password, &salt()?, rounds),
            }))
        };
        aside(password, make).await.flatten()
    }

    /// Whether a verifier is that of the password.
    pub(super) async fn verifies(self, stored: &str, password: &[u8]) -> bool {
        let stored = stored.to_owned();
        let verifies = move |password: &[u8]| self.verifies_now(&stored, password);
        aside(password, verifies).await.unwrap_or_default()
    }

    fn verifies_now(self, stored: &str, password: &[u8]) -> bool {
        // A server could learn by time how much of what it says is right.
        let same = |stored: &str, own: String| {
            bool::from(stored.as_bytes().ct_eq(Zeroizing::new(own).as_bytes()))
        };
        match self {
            Self::Native => same(&stored.to_ascii_uppercase(), native(password)),
            Self::Ed25519 => same(stored, ed25519(password)),
            Self::CachingSha2 => {
                let parts = stored.strip_prefix("$A$").and_then(|rest| {
                    let (rounds, rest) = rest.split_once('$')?;
                    let salt = rest.as_bytes().get(..SALT)?;
                    Some((salt, Rounds::of_digits(rounds)?))
                });
                parts.is_some_and(|(salt, rounds)| {
                    same(stored, caching_sha2(password, salt, rounds))
                })
            }
        }
    }
}

/// Does what may take long where nobody waits for the thread: how many rounds there are is the server's choice.
async fn aside<T: Send + 'static>(
    password: &[u8],
    work: impl FnOnce(&[u8]) -> T + Send + 'static,
) -> Option<T> {
    let password = Zeroizing::new(password.to_vec());
    let done = spawn_blocking(move || work(&password)).await;
    done.ok()
}

/// `mysql_native_password`: `*` and SHA-1 of the SHA-1, in hexadecimal digits (MySQL's manual, "Native Pluggable
/// Authentication"). It has no salt; who reads it from the server can try passwords at leisure.
fn native(password: &[u8]) -> String {
    let once = digest(&SHA1_FOR_LEGACY_USE_ONLY, password);
    let twice = digest(&SHA1_FOR_LEGACY_USE_ONLY, once.as_ref());
    let digits = twice.as_ref().iter().map(|byte| format!("{byte:02X}"));
    format!("*{}", digits.collect::<String>())
}

/// `ed25519` of MariaDB: the public key whose private one is the password, of any length, in the place of the seed (RFC
/// 8032, section 5.1.5).
fn ed25519(password: &[u8]) -> String {
    let mut scalar = Zeroizing::new([0; 32]);
    let hash = digest(&SHA512, password);
    scalar.copy_from_slice(&hash.as_ref()[..32]);
    let public = EdwardsPoint::mul_base_clamped(*scalar).compress();
    STANDARD_NO_PAD.encode(public.as_bytes())
}

/// A salt of characters that need no quoting.
fn salt() -> Option<[u8; SALT]> {
    let mut salt = [0; SALT];
    OsRandom.fill(&mut salt).ok()?;
    // 64 divides 256, so that each is as likely as the others.
    Some(salt.map(|byte| DIGITS[usize::from(byte % 64)]))
}

fn caching_sha2(password: &[u8], salt: &[u8], rounds: Rounds) -> String {
    let hash = sha256_crypt(password, salt, usize::from(rounds.0) * THOUSAND);
    let salt = String::from_utf8_lossy(salt);
    format!("$A${:03X}${salt}{hash}", rounds.0)
}

/// SHA-crypt with SHA-256, as Drepper's specification has it, but for the salt: MySQL's is longer than the 16 bytes to
/// which others cut it, and whole. Steps are those of the specification.
fn sha256_crypt(password: &[u8], salt: &[u8], rounds: usize) -> String {
    // Steps 4 to 8.
    let mut other = Sha256::new();
    other.update(password);
    other.update(salt);
    other.update(password);
    let other = Zeroizing::new(<[u8; 32]>::from(other.finalize()));
    // Steps 1 to 3 and 9 to 12.
    let mut first = Sha256::new();
    first.update(password);
    first.update(salt);
    first.update(&*repeated(&*other, password.len()));
    let mut length = password.len();
    while length > 0 {
        if length % 2 == 1 {
            first.update(*other);
        } else {
            first.update(password);
        }
        length /= 2;
    }
    let mut hash = Zeroizing::new(<[u8; 32]>::from(first.finalize()));
    // Steps 13 to 16.
    let mut passwords = Sha256::new();
    for _ in 0..password.len() {
        passwords.update(password);
    }
    let passwords = Zeroizing::new(<[u8; 32]>::from(passwords.finalize()));
    let passwords = repeated(&*passwords, password.len());
    // Steps 17 to 20.
    let mut salts = Sha256::new();
    for _ in 0..16 + usize::from(hash[0]) {
        salts.update(salt);
    }
    let salts = <[u8; 32]>::from(salts.finalize());
    let salts = repeated(&salts, salt.len());
    // Step 21.
    for round in 0..rounds {
        let mut next = Sha256::new();
        if round % 2 == 1 {
            next.update(&*passwords);
        } else {
            next.update(*hash);
        }
        if round % 3 != 0 {
            next.update(&*salts);
        }
        if round % 7 != 0 {
            next.update(&*passwords);
        }
        if round % 2 == 1 {
            next.update(*hash);
        } else {
            next.update(&*passwords);
        }
        *hash = next.finalize().into();
    }
    in_digits(&hash)
}

/// The bytes over and over, cut at that length.
fn repeated(bytes: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(bytes.iter().copied().cycle().take(length).collect())
}

/// Step 22: three bytes to four digits, the lowest first, of bytes that are ten places from each other.
fn in_digits(hash: &[u8; 32]) -> String {
    let mut text = String::with_capacity(43);
    let mut push = |mut bits: usize, digits: usize| {
        for _ in 0..digits {
            text.push(char::from(DIGITS[bits % 64]));
            bits /= 64;
        }
    };
    let (mut high, mut middle, mut low) = (0, 10, 20);
    for _ in 0..10 {
        let bytes = [hash[high], hash[middle], hash[low]].map(usize::from);
        push(bytes[0] << 16 | bytes[1] << 8 | bytes[2], 4);
        (high, middle, low) = (low + 1, high + 1, middle + 1);
    }
    push(usize::from(hash[31]) << 8 | usize::from(hash[30]), 3);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digit = |place: usize| u8::from_str_radix(&hex[place..place + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digit).collect()
    }

    #[test]
    fn a_native_verifier_is_what_the_server_makes_of_the_password() {
        // MySQL's manual, "Password Hashing in MySQL": PASSWORD('mypass').
        let expected = "*6C8989366EAF75BB670AD8EA7A7FC1176A95CEF4";
        assert_eq!(native(b"mypass"), expected);
        assert!(Plugin::Native.verifies_now(&expected.to_lowercase(), b"mypass"));
        assert!(!Plugin::Native.verifies_now(expected, b"mypas"));
    }

    #[test]
    fn an_ed25519_verifier_is_what_the_server_makes_of_the_password() {
        // MariaDB's manual, "Authentication Plugin - ed25519": PASSWORD('secret').
        let expected = "ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY";
        assert_eq!(ed25519(b"secret"), expected);
        assert!(Plugin::Ed25519.verifies_now(expected, b"secret"));
    }

    #[test]
    fn the_hash_is_that_of_the_specification() {
        // Of a salt that nobody cuts, as `openssl passwd -5 -salt saltstring` has it.
        assert_eq!(
            sha256_crypt(b"Hello world!", b"saltstring", 5_000),
            "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"
        );
        // Of the examples of the specification itself, the one whose salt is not cut.
        assert_eq!(
            sha256_crypt(b"a short string", b"asaltof16chars..", 123_456),
            "gP3VQ/6X7UUEW3HkBn2w1/Ptq2jxPyzV/cZKmF/wJvD"
        );
    }

    #[test]
    fn a_caching_sha2_verifier_is_what_the_server_makes_of_the_password() {
        // What a server had stored, from the examples of hashcat (mode 7401).
        let salt = bytes("F9CC98CE08892924F50A213B6BC571A2C11778C5");
        let hash = bytes(
            "625479393559393965414D45316477456B484F41316E64484742577A2E3162785353526B7554584647562F",
        );
        let hash = String::from_utf8(hash).unwrap();
        assert_eq!(sha256_crypt(b"hashcat", &salt, 5_000), hash);
    }

    #[tokio::test]
    async fn a_verifier_has_a_salt_of_its_own_each_time_and_is_known_again() {
        let plugin = Plugin::CachingSha2;
        for (setting, digits) in [("5000", "005"), ("10000", "00A"), ("16999", "010")] {
            let rounds = Rounds::of_setting(setting).unwrap();
            let one = plugin.verifier(b"same", rounds).await.unwrap();
            let other = plugin.verifier(b"same", rounds).await.unwrap();
            assert_ne!(one, other);
            for stored in [one, other] {
                assert_eq!(stored.len(), 7 + SALT + 43);
                assert_eq!(&stored[..7], format!("$A${digits}$"));
                assert!(plugin.verifies(&stored, b"same").await);
                assert!(!plugin.verifies(&stored, b"different").await);
            }
        }
    }

    #[test]
    fn what_is_no_verifier_verifies_nothing() {
        let salt = *b"abcdefghijklmnopqrst";
        let sound = caching_sha2(b"same", &salt, Rounds::LEAST);
        assert!(Plugin::CachingSha2.verifies_now(&sound, b"same"));
        for rounds in ["004", "0005", "05", "+05", "1000", "", "xyz"] {
            let broken = sound.replace("$005$", &format!("${rounds}$"));
            assert!(
                !Plugin::CachingSha2.verifies_now(&broken, b"same"),
                "{broken}"
            );
        }
        for broken in [
            "",
            "$A$005$",
            "$A$005$short",
            "$A$005$éééééééééééééé",
            "$A$",
        ] {
            assert!(
                !Plugin::CachingSha2.verifies_now(broken, b"same"),
                "{broken}"
            );
        }
        for setting in ["", "4999", "4096000", "x", "-1"] {
            assert_eq!(Rounds::of_setting(setting), None, "{setting}");
        }
        assert_eq!(Rounds::of_setting("4095000"), Some(Rounds::MOST));
    }

    #[test]
    fn a_plugin_is_known_by_its_name() {
        for plugin in [Plugin::Native, Plugin::Ed25519, Plugin::CachingSha2] {
            assert_eq!(Plugin::named(plugin.name()), Some(plugin));
        }
        assert_eq!(Plugin::named("unix_socket"), None);
    }
}
