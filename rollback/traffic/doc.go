// Package traffic sets the canary's weight on live routing objects. A call goes through the
// files in this order:
//
//	traffic.go      the Router, which implements rollback.Traffic
//	manifest.go     which side of a release is the canary, and which routes it declares
//	canary.go         the canary's Services, subsets and Deployments
//	workloads.go      the manifest's workloads and Services
//	find.go         the live routes, also those that no manifest declares
//	scalers.go        the ScaledObjects of Deployments
//	list.go           how lists are requested
//	served.go         which kinds the API server does not serve
//	observe.go      Observe: the weights, and the load that other backends would take over
//	settle.go       which parts of the routes a shed leaves alone
//	writer.go       who wrote a weight
//	watch.go        Watch: which routing objects change
//	endpoints.go      whether those have ready endpoints
//	shed.go         Shed: the weight to zero
//	restore.go      Restore: the weight back
//	patch.go          one write: read, test, patch, verify
//	edit.go           the operations of a JSON Patch
//	hold.go         Hold: zero in the objects that Helm is about to write
//
// Each kind of router has one file, which says how its objects declare the weight:
//
//	registry.go     the kinds of routing objects; only this file names every router
//	router.go       what a router does: pure functions of an object
//	router_*.go     the routers
//	weighted.go     what all routers with lists of weighted backends have in common
//	weighted_*.go     where the lists are, also in annotations; one list; what a shed plans and
//	                  does about it, and a restore; the held weights that a shed notes on the
//	                  object
//
// On top are the live weights of every opted-in release as a metric:
//
//	gauge.go        the Gauge
//	gauge_*.go        the read of a namespace, one list a kind, and the shares in percent
//
// The weight is set to zero in three places: weighted_shed.go for lists of backends,
// router_ingressnginx.go for a canary Ingress, and router_plainservice.go for the replicas of
// a Deployment behind a Service of both tracks.
//
// Routing objects, and which of their backends are the canary, are read from the release's
// stored manifest and from the release's namespace. No label of an alert names an object.
package traffic
