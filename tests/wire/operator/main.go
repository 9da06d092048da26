// An operator written with controller-runtime: websites, each of which owns a Deployment.
//
// It uses the cluster of its kubeconfig as its tests would (envtest, with an existing cluster), which installs the
// definition and the webhook with a certificate of its own; then it runs as any operator does: a leader is elected, a
// webhook validates, a finalizer leaves a note, the status follows the Deployment. Its lines tell a test how far it is.
package main

import (
	"context"
	"fmt"
	"os"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

const finalizer = "operator.example.dev/note"

var groupVersion = schema.GroupVersion{Group: "operator.example.dev", Version: "v1"}

type WebsiteSpec struct {
	Image    string `json:"image"`
	Replicas int32  `json:"replicas,omitempty"`
}

type WebsiteStatus struct {
	ReadyReplicas int32              `json:"readyReplicas"`
	Conditions    []metav1.Condition `json:"conditions,omitempty"`
}

type Website struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   WebsiteSpec   `json:"spec"`
	Status WebsiteStatus `json:"status,omitempty"`
}

func (in *Website) DeepCopyObject() runtime.Object {
	out := *in
	in.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	out.Status.Conditions = append([]metav1.Condition(nil), in.Status.Conditions...)
	return &out
}

type WebsiteList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Website `json:"items"`
}

func (in *WebsiteList) DeepCopyObject() runtime.Object {
	out := *in
	in.ListMeta.DeepCopyInto(&out.ListMeta)
	out.Items = nil
	for index := range in.Items {
		out.Items = append(out.Items, *in.Items[index].DeepCopyObject().(*Website))
	}
	return &out
}

type reconciler struct {
	client.Client
}

func (r *reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	website := &Website{}
	if err := r.Get(ctx, request.NamespacedName, website); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !website.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, r.finalize(ctx, website)
	}
	if controllerutil.AddFinalizer(website, finalizer) {
		if err := r.Update(ctx, website); err != nil {
			return ctrl.Result{}, err
		}
	}
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: website.Name, Namespace: website.Namespace}}
	if _, err := controllerutil.CreateOrUpdate(ctx, r.Client, deployment, func() error {
		labels := map[string]string{"website": website.Name}
		deployment.Spec.Replicas = &website.Spec.Replicas
		deployment.Spec.Selector = &metav1.LabelSelector{MatchLabels: labels}
		deployment.Spec.Template.Labels = labels
		// What the server put there by default stays.
		if len(deployment.Spec.Template.Spec.Containers) == 0 {
			deployment.Spec.Template.Spec.Containers = []corev1.Container{{Name: "site"}}
		}
		deployment.Spec.Template.Spec.Containers[0].Image = website.Spec.Image
		return controllerutil.SetControllerReference(website, deployment, r.Scheme())
	}); err != nil {
		return ctrl.Result{}, err
	}
	before := website.DeepCopyObject().(*Website)
	website.Status.ReadyReplicas = deployment.Status.ReadyReplicas
	condition := metav1.Condition{
		Type: "Ready", Status: metav1.ConditionFalse, Reason: "Progressing", ObservedGeneration: website.Generation,
	}
	if deployment.Status.ReadyReplicas == website.Spec.Replicas {
		condition.Status, condition.Reason = metav1.ConditionTrue, "AllReady"
	}
	meta.SetStatusCondition(&website.Status.Conditions, condition)
	return ctrl.Result{}, r.Status().Patch(ctx, website, client.MergeFrom(before))
}

// finalize leaves a note behind, and lets the website go.
func (r *reconciler) finalize(ctx context.Context, website *Website) error {
	note := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: website.Name + "-was-here", Namespace: website.Namespace},
	}
	if err := r.Create(ctx, note); client.IgnoreAlreadyExists(err) != nil {
		return err
	}
	if !controllerutil.RemoveFinalizer(website, finalizer) {
		return nil
	}
	return client.IgnoreNotFound(r.Update(ctx, website))
}

type validator struct{}

func (validator) ValidateCreate(_ context.Context, website *Website) (admission.Warnings, error) {
	if website.Spec.Image == "forbidden" {
		return nil, fmt.Errorf("image %q may not be used", website.Spec.Image)
	}
	return admission.Warnings{"this website was looked at"}, nil
}

func (v validator) ValidateUpdate(ctx context.Context, _, website *Website) (admission.Warnings, error) {
	return v.ValidateCreate(ctx, website)
}

func (validator) ValidateDelete(context.Context, *Website) (admission.Warnings, error) {
	return nil, nil
}

func pointer[T any](value T) *T { return &value }

func webhooks() []*admissionv1.ValidatingWebhookConfiguration {
	return []*admissionv1.ValidatingWebhookConfiguration{{
		ObjectMeta: metav1.ObjectMeta{Name: "websites." + groupVersion.Group},
		Webhooks: []admissionv1.ValidatingWebhook{{
			Name:                    "websites." + groupVersion.Group,
			AdmissionReviewVersions: []string{"v1"},
			SideEffects:             pointer(admissionv1.SideEffectClassNone),
			// envtest makes a URL of the Service's path.
			ClientConfig: admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{
				Name: "websites", Namespace: "default", Path: pointer("/validate-operator-example-dev-v1-website"),
			}},
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
				Rule: admissionv1.Rule{
					APIGroups: []string{groupVersion.Group}, APIVersions: []string{"v1"}, Resources: []string{"websites"},
				},
			}},
		}},
	}}
}

func run(ctx context.Context, definitions, namespace, name string) error {
	environment := &envtest.Environment{
		UseExistingCluster:    pointer(true),
		CRDInstallOptions:     envtest.CRDInstallOptions{Paths: []string{definitions}, ErrorIfPathMissing: true},
		WebhookInstallOptions: envtest.WebhookInstallOptions{ValidatingWebhooks: webhooks()},
	}
	config, err := environment.Start()
	if err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	scheme := runtime.NewScheme()
	if err := clientscheme.AddToScheme(scheme); err != nil {
		return err
	}
	scheme.AddKnownTypes(groupVersion, &Website{}, &WebsiteList{})
	metav1.AddToGroupVersion(scheme, groupVersion)

	serving := environment.WebhookInstallOptions
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                        scheme,
		Metrics:                       metricsserver.Options{BindAddress: "0"},
		LeaderElection:                true,
		LeaderElectionID:              "operator.example.dev",
		LeaderElectionNamespace:       namespace,
		LeaderElectionReleaseOnCancel: true,
		WebhookServer: webhook.NewServer(webhook.Options{
			Host: serving.LocalServingHost, Port: serving.LocalServingPort, CertDir: serving.LocalServingCertDir,
		}),
	})
	if err != nil {
		return err
	}
	if err := ctrl.NewControllerManagedBy(manager).Named(name).For(&Website{}).Owns(&appsv1.Deployment{}).
		Complete(&reconciler{manager.GetClient()}); err != nil {
		return err
	}
	if err := ctrl.NewWebhookManagedBy(manager, &Website{}).WithValidator(validator{}).Complete(); err != nil {
		return err
	}
	go func() {
		<-manager.Elected()
		fmt.Println(name, "leads")
	}()
	fmt.Println(name, "starts")
	return manager.Start(ctx)
}

func main() {
	ctrl.SetLogger(zap.New(zap.WriteTo(os.Stderr)))
	if len(os.Args) != 4 {
		fmt.Println("usage: operator DEFINITIONS NAMESPACE NAME")
		os.Exit(2)
	}
	if err := run(ctrl.SetupSignalHandler(), os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	fmt.Println("ended")
}
