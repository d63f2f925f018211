//! The statements of a policy, compiled once so that each decision is a few look-ups.
//!
//! Statements are bits: for each principal, group, namespace and action there is a mask of the statements that speak of
//! it, so that those that match both are found by AND, and only their conditions are compared. Pairs of the encryption context
//! that they ask for are numbers.

use std::collections::HashMap;
use std::marker::PhantomData;

use super::Principal;
use super::action::{ActionSet, MAX_ACTIONS, matching_actions};
use super::decide::StatementName;
use super::pairs::{Found, Pairs};
use super::principal::{namespace_of_group, service_account};
use super::rules::RuleError;
use crate::api::{Effect, NamespaceRecord, Principals, StatementConditions, Via};

/// A set of statements, by their place in the policy.
pub(super) type Statements = u64;

/// Most statements that a set has room for.
pub(super) const MAX_STATEMENTS: usize = Statements::BITS as usize;

/// The statements of one policy, which is that of a resource in a namespace.
#[derive(Clone, Debug)]
pub(super) struct Table<A> {
    namespace: String,
    statements: Vec<Statement>,
    pub(super) allows: Statements,
    pub(super) denies: Statements,
    by_action: [Statements; MAX_ACTIONS],
    by_user: HashMap<String, Statements>,
    by_group: HashMap<String, Statements>,
    by_namespace: HashMap<String, Statements>,
    /// The namespaces of principals as they were when they were accepted, the resource's own among them.
    uids: HashMap<String, String>,
    /// The pairs that rules ask for.
    pub(super) pairs: Pairs,
    actions: PhantomData<A>,
}

/// What is compared of a statement after its principals and actions matched.
#[derive(Clone, Debug)]
struct Statement {
    sid: Option<String>,
    /// The pairs that it asks for.
    context: Vec<u32>,
    via: Vec<Via>,
}

/// A statement, as it is written.
pub(super) struct Said<'a> {
    pub(super) sid: Option<&'a String>,
    pub(super) effect: Effect,
    pub(super) principals: &'a Principals,
    pub(super) actions: &'a [String],
    pub(super) conditions: Option<&'a StatementConditions>,
}

/// The statements that speak of somebody and an action.
pub(super) struct Named {
    /// By names alone.
    pub(super) by_name: Statements,
    /// Those of them that speak of the very namespace that the principal is in, where they speak of one.
    pub(super) by_identity: Statements,
}

impl<A: ActionSet> Table<A> {
    /// Without statements. `uid`: that of the resource's namespace, as recorded; `recorded`: those of other namespaces.
    pub(super) fn new(namespace: &str, uid: Option<&str>, recorded: &[NamespaceRecord]) -> Self {
        let recorded = recorded.iter();
        let mut uids: HashMap<_, _> = recorded.map(|n| (n.name.clone(), n.uid.clone())).collect();
        uids.remove(namespace);
        uids.extend(uid.map(|uid| (namespace.to_owned(), uid.to_owned())));
        Self {
            namespace: namespace.to_owned(),
            statements: Vec::new(),
            allows: 0,
            denies: 0,
            by_action: [0; MAX_ACTIONS],
            by_user: HashMap::new(),
            by_group: HashMap::new(),
            by_namespace: HashMap::new(),
            uids,
            pairs: Pairs::default(),
            actions: PhantomData,
        }
    }

    /// Adds statements.
    ///
    /// # Errors
    /// There are more than `most`, or an action pattern stands for nothing.
    pub(super) fn add_all<'a>(
        &mut self,
        statements: impl ExactSizeIterator<Item = Said<'a>>,
        most: usize,
    ) -> Result<(), RuleError> {
        let (count, most) = (statements.len(), most.min(MAX_STATEMENTS));
        if count > most {
            return Err(RuleError::TooManyStatements { count, most });
        }
        statements.into_iter().try_for_each(|said| self.add(&said))
    }

    fn add(&mut self, said: &Said<'_>) -> Result<(), RuleError> {
        let index = self.statements.len();
        let bit = 1 << index;
        match said.effect {
            Effect::Allow => self.allows |= bit,
            Effect::Deny => self.denies |= bit,
        }
        for pattern in said.actions {
            let matching =
                matching_actions::<A>(pattern).map_err(|_| RuleError::UnknownAction {
                    statement: index,
                    pattern: pattern.clone(),
                })?;
            for action in matching {
                self.by_action[action.index()] |= bit;
            }
        }
        self.add_principals(said.principals, bit);
        let conditions = said.conditions.cloned().unwrap_or_default();
        self.statements.push(Statement {
            sid: said.sid.cloned(),
            context: self.pairs.asked(&conditions.encryption_context),
            via: conditions.via,
        });
        Ok(())
    }

    fn add_principals(&mut self, principals: &Principals, bit: Statements) {
        for account in &principals.service_accounts {
            let user = service_account(&account.namespace, &account.name);
            *self.by_user.entry(user).or_default() |= bit;
        }
        for user in &principals.users {
            *self.by_user.entry(user.clone()).or_default() |= bit;
        }
        for group in &principals.groups {
            *self.by_group.entry(group.clone()).or_default() |= bit;
        }
        for namespace in &principals.namespaces {
            *self.by_namespace.entry(namespace.clone()).or_default() |= bit;
        }
    }

    /// The statements that speak of the principal and the action. `own_only`: whoever is of another namespace than the resource's
    /// counts as nobody.
    pub(super) fn about(&self, principal: &Principal, action: A, own_only: bool) -> Named {
        let acted = self.by_action[action.index()];
        if acted == 0 {
            return Named {
                by_name: 0,
                by_identity: 0,
            };
        }
        let is_home_same =
            self.is_home_same(principal) && (!own_only || self.is_own_namespace(principal));
        let (mut bound, mut free) = (0, 0);
        let user = self.by_user.get(&principal.user).copied();
        match &principal.home {
            Some(home) => {
                bound |= user.unwrap_or_default();
                let whole = self.by_namespace.get(&home.namespace);
                bound |= whole.copied().unwrap_or_default();
            }
            None => free |= user.unwrap_or_default(),
        }
        for group in &principal.groups {
            let statements = self.by_group.get(group).copied().unwrap_or_default();
            match namespace_of_group(group) {
                // Somebody of no namespace, or of another, who is put into such a group is not of the one that was accepted.
                Some(namespace) if principal.namespace() != Some(namespace) => {
                    free |= statements & self.denies;
                }
                Some(_) => bound |= statements,
                None => free |= statements,
            }
        }
        Named {
            by_name: acted & (bound | free),
            by_identity: acted & (free | if is_home_same { bound } else { 0 }),
        }
    }

    /// Whether the principal is of the resource's own namespace.
    pub(super) fn is_own_namespace(&self, principal: &Principal) -> bool {
        principal.namespace() == Some(&self.namespace)
    }

    /// Whether the principal's namespace is the very one that was accepted: names can be re-used, UIDs cannot.
    pub(super) fn is_home_same(&self, principal: &Principal) -> bool {
        let Some(home) = &principal.home else {
            return false;
        };
        home.uid.is_some() && home.uid.as_ref() == self.uids.get(&home.namespace)
    }

    /// The first of these statements whose conditions hold.
    pub(super) fn first(
        &self,
        mut statements: Statements,
        found: &Found,
        via: Option<Via>,
    ) -> Option<StatementName> {
        while statements != 0 {
            let index = statements.trailing_zeros() as usize;
            let statement = self.statements.get(index)?;
            if statement.holds(found, via) {
                let sid = statement.sid.clone();
                return Some(StatementName { index, sid });
            }
            statements &= statements - 1;
        }
        None
    }

    /// Whether some statement denies one of these actions to somebody.
    pub(super) fn denies_any(&self, actions: &[A]) -> bool {
        self.denying(actions) != 0
    }

    /// Whether a statement may deny one of these actions to somebody of whom only the name is known: conditions are left aside, and
    /// any group may be one of his.
    pub(super) fn may_deny(&self, user: &Principal, actions: &[A]) -> bool {
        let by_user = self.by_user.get(user.name());
        let home = user
            .namespace()
            .and_then(|home| self.by_namespace.get(home));
        let spoken = by_user
            .into_iter()
            .chain(home)
            .chain(self.by_group.values());
        self.denying(actions) & spoken.fold(0, |mask, statements| mask | statements) != 0
    }

    /// The statements that deny one of these actions.
    fn denying(&self, actions: &[A]) -> Statements {
        let by_action = actions.iter().map(|action| self.by_action[action.index()]);
        self.denies & by_action.fold(0, |mask, statements| mask | statements)
    }
}

impl Statement {
    fn holds(&self, found: &Found, via: Option<Via>) -> bool {
        let is_way = |way| via == Some(way);
        (self.via.is_empty() || self.via.iter().copied().any(is_way))
            && found.has_all(&self.context)
    }
}
