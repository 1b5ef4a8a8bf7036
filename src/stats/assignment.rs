//! The best way to pair two lists, each thing used once: the assignment problem.
//!
//! The Hungarian method with potentials, after Kuhn and Munkres. Time grows with the square of the shorter list times
//! the longer one.

/// Pairs rows with columns so that the sum of `gain` over the pairs is greatest; for each row its column. Gains are
/// finite; a pair whose gain is not above 0 is left apart. `None` marks a row that is left over.
pub fn assign(rows: usize, columns: usize, gain: impl Fn(usize, usize) -> f64) -> Vec<Option<usize>> {
    if rows <= columns {
        return wide(rows, columns, &gain);
    }
    let mut mates = vec![None; rows];
    for (column, row) in wide(columns, rows, &|column, row| gain(row, column)).into_iter().enumerate() {
        if let Some(place) = row.and_then(|row| mates.get_mut(row)) {
            *place = Some(column);
        }
    }
    mates
}

/// The same where there are at least as many columns as rows.
fn wide(rows: usize, columns: usize, gain: &dyn Fn(usize, usize) -> f64) -> Vec<Option<usize>> {
    // Row and column 0 stand for nobody, so every index below lies in `0..=rows` or `0..=columns`.
    let (mut of_row, mut of_column) = (vec![0.0; rows + 1], vec![0.0; columns + 1]);
    let mut owner = vec![0_usize; columns + 1];
    for row in 1..=rows {
        owner[0] = row;
        let mut at = 0;
        let mut least = vec![f64::INFINITY; columns + 1];
        let mut used = vec![false; columns + 1];
        let mut came_from = vec![0_usize; columns + 1];
        while owner[at] != 0 {
            used[at] = true;
            let current = owner[at];
            let (mut step, mut next) = (f64::INFINITY, 0);
            for column in (1..=columns).filter(|column| !used[*column]) {
                let cost = -gain(current - 1, column - 1) - of_row[current] - of_column[column];
                if cost < least[column] {
                    least[column] = cost;
                    came_from[column] = at;
                }
                if least[column] < step {
                    step = least[column];
                    next = column;
                }
            }
            if next == 0 {
                // Only gains that are not finite leave no way on.
                break;
            }
            for (column, taken) in used.iter().enumerate() {
                if *taken {
                    of_row[owner[column]] += step;
                    of_column[column] -= step;
                } else {
                    least[column] -= step;
                }
            }
            at = next;
        }
        while at != 0 {
            let before = came_from[at];
            owner[at] = owner[before];
            at = before;
        }
    }
    let mut mates = vec![None; rows];
    for (column, row) in owner.iter().enumerate().skip(1).filter(|(_, row)| **row > 0) {
        if gain(row - 1, column - 1) > 0.0 {
            mates[row - 1] = Some(column - 1);
        }
    }
    mates
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every way to pair, the slow textbook definition.
    fn best(rows: usize, free: &mut Vec<usize>, gain: &dyn Fn(usize, usize) -> f64) -> f64 {
        let Some(row) = rows.checked_sub(1) else { return 0.0 };
        let mut most = best(row, free, gain);
        for place in 0..free.len() {
            let column = free.swap_remove(place);
            most = most.max(gain(row, column) + best(row, free, gain));
            free.push(column);
            let last = free.len() - 1;
            free.swap(place, last);
        }
        most
    }

    proptest! {
        #[test]
        fn the_sum_is_the_greatest_there_is(rows in 0..5_usize, columns in 0..5_usize, cells in proptest::collection::vec(0..7_u8, 25)) {
            let gain = |row: usize, column: usize| f64::from(cells[row * 5 + column]) / 6.0;
            let mates = assign(rows, columns, gain);
            prop_assert_eq!(mates.len(), rows);
            let mut taken: Vec<usize> = mates.iter().flatten().copied().collect();
            taken.sort_unstable();
            taken.dedup();
            prop_assert_eq!(taken.len(), mates.iter().flatten().count(), "a column is used twice");
            let sum: f64 = mates.iter().enumerate().filter_map(|(row, mate)| Some(gain(row, (*mate)?))).sum();
            prop_assert!((sum - best(rows, &mut (0..columns).collect(), &gain)).abs() < 1e-9);
        }
    }

    #[test]
    fn a_known_case_and_odd_gains() {
        // scipy 1.17: `linear_sum_assignment([[4,1,3],[2,0,5],[3,2,2]], maximize=True)` gives columns 0, 2, 1, sum 11.
        let table = [[4.0, 1.0, 3.0], [2.0, 0.0, 5.0], [3.0, 2.0, 2.0]];
        assert_eq!(assign(3, 3, |row, column| table[row][column]), [Some(0), Some(2), Some(1)]);
        assert_eq!(assign(2, 2, |_, _| 0.0), [None, None]);
        assert_eq!(assign(2, 1, |_, _| f64::NAN).len(), 2);
        assert_eq!(assign(0, 3, |_, _| 1.0), []);
    }
}
