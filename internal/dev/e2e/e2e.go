// Package e2e tests whole nights: scheduler, queue, workers and repository
// together, on a real Postgres and a real Redis, against the simulated App
// Store. It holds tests only; those of one part are next to that part.
package e2e
