package nack

import "time"

// maxAnswers is how many arrivals are held until it is clear what they were.
const maxAnswers = 32

// An answer is a packet that came after it was requested: a repair, or the
// packet itself, merely late. The first is told from the second by what
// follows: who asked for a packet that was on its way gets it twice (the idea
// of the Eifel detection algorithm, RFC 3522, without its timestamps).
type answer struct {
	seq   uint64
	depth time.Duration // from notice to arrival
	first time.Time     // request
	came  time.Time
	tries int
}

// Answers holds the newest arrivals, oldest first.
type answers struct {
	held [maxAnswers]answer
	n    int
}

// push adds a; if there is no room, the oldest is returned, and gone.
func (q *answers) push(a answer) (oldest answer, full bool) {
	if q.n == maxAnswers {
		oldest, full = q.held[0], true
		q.remove(0)
	}
	q.held[q.n] = a
	q.n++
	return oldest, full
}

// popBefore removes the oldest answer if it came before t.
func (q *answers) popBefore(t time.Time) (answer, bool) {
	if q.n == 0 || !q.held[0].came.Before(t) {
		return answer{}, false
	}
	a := q.held[0]
	q.remove(0)
	return a, true
}

// take removes the answer with number seq.
func (q *answers) take(seq uint64) (answer, bool) {
	for i, a := range q.held[:q.n] {
		if a.seq == seq {
			q.remove(i)
			return a, true
		}
	}
	return answer{}, false
}

func (q *answers) remove(i int) {
	copy(q.held[i:], q.held[i+1:q.n])
	q.n--
}
