"""Networks by dictionary, distributions and normalisers."""

from AquaML._lazy import lazy_attributes

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "BetaModel": "AquaML.learning.model.beta",
        "CategoricalModel": "AquaML.learning.model.categorical",
        "CompositeModel": "AquaML.learning.model.composite",
        "DeterministicModel": "AquaML.learning.model.deterministic",
        "FeatureExtractor": "AquaML.learning.model.encoders",
        "FlatEncoder": "AquaML.learning.model.encoders",
        "GaussianModel": "AquaML.learning.model.gaussian",
        "ImageEncoder": "AquaML.learning.model.encoders",
        "MLPEncoder": "AquaML.learning.model.encoders",
        "Model": "AquaML.learning.model.base",
        "ModelCfg": "AquaML.learning.model.model_cfg",
        "MultiCategoricalModel": "AquaML.learning.model.categorical",
        "MultivariateGaussianModel": "AquaML.learning.model.multivariate_gaussian",
        "NormalizerCfg": "AquaML.learning.model.normalizer_cfg",
        "RecurrentEncoder": "AquaML.learning.model.recurrent",
        "RunningNormalizer": "AquaML.learning.model.normalizer",
        "SquashedGaussianModel": "AquaML.learning.model.squashed_gaussian",
        "StochasticModel": "AquaML.learning.model.stochastic",
        "default_actor_critic": "AquaML.learning.model.ready_made_critics",
        "default_q_network": "AquaML.learning.model.ready_made_critics",
        "default_models": "AquaML.learning.model.ready_made",
    },
)
