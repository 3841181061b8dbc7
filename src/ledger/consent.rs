//! Consent as one small number, so that members can be grouped by it.
//!
//! A group is `9 × partition + 3 × ad_user_data + ad_personalization`, each state 0 granted, 1 denied,
//! 2 unknown. The partition (0–27) is the caller's: a region, say, whose members must not share a job with others.

use reveil_sdk::{Consent, ConsentState};

/// Groups there can be.
pub const MAX_GROUPS: usize = 252;

const STATES: [ConsentState; 3] = [ConsentState::Granted, ConsentState::Denied, ConsentState::Unknown];

fn code(state: ConsentState) -> u8 {
    match state {
        ConsentState::Granted => 0,
        ConsentState::Denied => 1,
        ConsentState::Unknown => 2,
    }
}

/// The group of a consent in partition 0.
pub fn group(consent: Consent) -> u8 {
    3 * code(consent.ad_user_data) + code(consent.ad_personalization)
}

/// The consent of a group, whatever its partition.
pub fn from_group(group: u8) -> Consent {
    let code = usize::from(group % 9);
    Consent { ad_user_data: STATES[code / 3], ad_personalization: STATES[code % 3] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_consent_comes_back_from_its_group() {
        for ad_user_data in STATES {
            for ad_personalization in STATES {
                let consent = Consent { ad_user_data, ad_personalization };
                assert_eq!(from_group(group(consent)), consent);
                assert_eq!(from_group(group(consent) + 27 * 9), consent);
            }
        }
    }
}
