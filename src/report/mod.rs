//! What happened and what it means, as values and as text: match rates, audiences, identifier defects.
