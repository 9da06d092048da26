// A client of the typed kind that speaks protobuf and nothing else: what controllers, kubelets and schedulers do.
// It prints a line for each thing that went well, and ends with 1 at the first that did not.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/watch"
	clientcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

const protobuf = "application/vnd.kubernetes.protobuf"

func check(what string, err error) {
	if err != nil {
		fmt.Printf("%s: %v\n", what, err)
		os.Exit(1)
	}
	fmt.Println(what)
}

func expect(what string, ok bool, found any) {
	if !ok {
		check(what, fmt.Errorf("found %v", found))
	}
	fmt.Println(what)
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	config, err := clientcmd.BuildConfigFromFlags("", os.Args[1])
	check("kubeconfig", err)
	config.ContentType, config.AcceptContentTypes = protobuf, protobuf
	client, err := clientcorev1.NewForConfig(config)
	check("client", err)
	namespace := os.Args[2]
	maps, pods := client.ConfigMaps(namespace), client.Pods(namespace)

	added := make(chan *corev1.ConfigMap, 100)
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
				return maps.List(ctx, options)
			},
			WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
				return maps.Watch(ctx, options)
			},
		}, client),
		ObjectType: &corev1.ConfigMap{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc: func(found any) { added <- found.(*corev1.ConfigMap) },
		},
	})
	go informer.RunWithContext(ctx)
	expect("informer synced", cache.WaitForCacheSync(ctx.Done(), informer.HasSynced), nil)

	binary := []byte{0, 1, 255}
	made, err := maps.Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "m", Labels: map[string]string{"a": "b"}},
		Data:       map[string]string{"k": "v"}, BinaryData: map[string][]byte{"b": binary},
	}, metav1.CreateOptions{})
	check("create", err)
	expect("bytes came back", string(made.BinaryData["b"]) == string(binary), made)
	expect("managed fields came back", len(made.ManagedFields) == 1 && made.ManagedFields[0].FieldsV1 != nil, made)
	for seen := false; !seen; {
		select {
		case found := <-added:
			seen = found.Name == "m" && found.Data["k"] == "v"
		case <-ctx.Done():
			check("informed", ctx.Err())
		}
	}
	fmt.Println("informed")

	events, err := maps.Watch(ctx, metav1.ListOptions{ResourceVersion: made.ResourceVersion})
	check("watch", err)
	patched, err := maps.Patch(ctx, "m", types.StrategicMergePatchType, []byte(`{"data":{"k":"w"}}`), metav1.PatchOptions{})
	check("patch", err)
	event := <-events.ResultChan()
	expect("watch told of the patch",
		event.Type == watch.Modified && event.Object.(*corev1.ConfigMap).ResourceVersion == patched.ResourceVersion, event)
	events.Stop()

	patched.Data["k"] = "x"
	_, err = maps.Update(ctx, patched, metav1.UpdateOptions{})
	check("update", err)
	_, err = maps.Update(ctx, patched, metav1.UpdateOptions{})
	expect("a conflict is one", apierrors.IsConflict(err), err)
	_, err = maps.Get(ctx, "none", metav1.GetOptions{})
	expect("not found is that", apierrors.IsNotFound(err), err)
	_, err = maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "X_"}}, metav1.CreateOptions{})
	expect("invalid is that, with causes", apierrors.IsInvalid(err) &&
		len(err.(*apierrors.StatusError).ErrStatus.Details.Causes) == 1, err)

	seconds := int64(0)
	pod, err := pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p"},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: &seconds,
			Containers: []corev1.Container{{
				Name: "c", Image: "i",
				Resources: corev1.ResourceRequirements{
					Requests: corev1.ResourceList{"cpu": resource.MustParse("100m"), "memory": resource.MustParse("64Mi")},
				},
				ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{
					HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromString("http")},
				}},
			}},
		},
	}, metav1.CreateOptions{})
	check("create a pod", err)
	expect("its fields came back", pod.Spec.Containers[0].Resources.Requests.Cpu().String() == "100m" &&
		pod.Spec.Containers[0].ReadinessProbe.HTTPGet.Port.StrVal == "http" && !pod.CreationTimestamp.IsZero() &&
		pod.Spec.RestartPolicy == corev1.RestartPolicyAlways, pod)
	list, err := pods.List(ctx, metav1.ListOptions{})
	check("list", err)
	expect("the list has it", len(list.Items) == 1 && list.Items[0].UID == pod.UID && list.ResourceVersion != "", list)

	token, err := client.ServiceAccounts(namespace).CreateToken(ctx, "default", &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{Audiences: []string{"a"}},
	}, metav1.CreateOptions{})
	check("token", err)
	expect("a token came back", token.Status.Token != "" && token.Status.ExpirationTimestamp.After(time.Now()), token)

	names, err := metadata.NewForConfig(config)
	check("metadata client", err)
	partial, err := names.Resource(corev1.SchemeGroupVersion.WithResource("pods")).Namespace(namespace).List(ctx, metav1.ListOptions{})
	check("list metadata", err)
	expect("metadata has it", len(partial.Items) == 1 && partial.Items[0].UID == pod.UID, partial)

	check("evict", pods.EvictV1(ctx, &policyv1.Eviction{
		ObjectMeta:    metav1.ObjectMeta{Name: "p"},
		DeleteOptions: &metav1.DeleteOptions{GracePeriodSeconds: &seconds},
	}))
	_, err = pods.Get(ctx, "p", metav1.GetOptions{})
	expect("the pod is gone", apierrors.IsNotFound(err), err)
	check("delete", maps.Delete(ctx, "m", *metav1.NewPreconditionDeleteOptions(string(made.UID))))
	check("delete collection", maps.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "a"}))
	fmt.Println("all")
}
