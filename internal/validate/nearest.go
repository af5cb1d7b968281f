package validate

import "strings"

// nearest returns the candidate that a mistyped name was most likely meant to be, whatever its case, and false when none is near: a third of
// its letters may differ, and two of a short name's.
func nearest(name string, candidates []string) (string, bool) {
	best, least := "", max(len(name)/3, min(len(name)/2, 2))+1
	for _, c := range candidates {
		if d := distance(strings.ToLower(name), strings.ToLower(c)); d < least {
			best, least = c, d
		}
	}
	return best, best != ""
}

// distance is the number of letters to insert, remove or replace to make one word of the other.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
