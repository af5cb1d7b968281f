// Package spelling finds what a mistyped word was meant to be. Errors about providers, their methods and their fields
// suggest it.
package spelling

import "strings"

// Nearest returns the candidate that a mistyped word was most likely meant to be, whatever its case, and false when
// none is near: a third of the word's letters may differ, and two of a short word's.
func Nearest(word string, candidates []string) (string, bool) {
	best, least := "", max(len(word)/3, min(len(word)/2, 2))+1
	for _, c := range candidates {
		if d := Distance(strings.ToLower(word), strings.ToLower(c)); d < least {
			best, least = c, d
		}
	}
	return best, best != ""
}

// Distance is the number of letters to insert, remove or replace to make one word of the other (Levenshtein).
func Distance(a, b string) int {
	from, to := []rune(a), []rune(b)
	row := make([]int, len(to)+1)
	for j := range row {
		row[j] = j
	}
	for i, r := range from {
		diagonal := row[0]
		row[0] = i + 1
		for j, s := range to {
			cost := diagonal
			if r != s {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(to)]
}
